from __future__ import annotations

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histocyte.core.errors import InputError, ResolutionError, SlideError
from histocyte.core.geometry import Box
from histocyte.slides import reader as reader_module
from histocyte.slides.array_reader import ArrayBackend, open_array
from histocyte.slides.protocol import StoredLevel, working_size
from histocyte.slides.reader import PyramidReader

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 83, 3), dtype=np.uint8)


class Pyramid(ArrayBackend):
    """A level 0 and plain halvings of it, each of one colour, so that one sees which was read."""

    def __init__(self, width: int = 333, height: int = 250, count: int = 3) -> None:
        super().__init__(PIXELS)
        self.levels = tuple(StoredLevel((width >> i, height >> i)) for i in range(count))
        self.stated_mpp = 0.25

    def read_level(self, level: int, box: Box) -> np.ndarray:
        return np.full((box.height, box.width, 3), 10 * level, np.uint8)


class Broken(Pyramid):
    def read_level(self, level: int, box: Box) -> np.ndarray:
        raise OSError("tile 7:\n  bad Huffman code")


def test_at_its_own_resolution_a_slide_is_read_as_it_is() -> None:
    slide = open_array(PIXELS, mpp=0.5)
    np.testing.assert_array_equal(slide.read(Box(0, 0, 83, 60), mpp=0.5), PIXELS)
    np.testing.assert_array_equal(slide.read(Box(7, 5, 11, 13), mpp=0.5), PIXELS[5:18, 7:18])


def test_off_the_slide_is_white() -> None:
    slide = open_array(np.zeros((10, 20, 3), np.uint8), mpp=0.5)
    out = slide.read(Box(-4, -3, 30, 20), mpp=0.5)
    assert (out[3:13, 4:24] == 0).all()
    out[3:13, 4:24] = 255
    assert (out == 255).all()
    assert (slide.read(Box(5000, 5000, 3, 2), mpp=1.7) == 255).all()
    assert slide.read(Box(0, 0, 0, 5), mpp=1.7).shape == (5, 0, 3)


@settings(max_examples=60, deadline=None)
@given(
    mpp=st.sampled_from([0.25, 0.5, 0.499, 1.0, 1.3, 4.0]),
    box=st.tuples(st.integers(-9, 60), st.integers(-9, 60), st.integers(1, 40), st.integers(1, 40)),
)
def test_any_two_boxes_agree_where_they_overlap(mpp: float, box: tuple[int, int, int, int]) -> None:
    slide = open_array(PIXELS, mpp=0.5)
    whole = Box(-10, -10, 120, 120)
    part = Box(*box)
    reference = slide.read(whole, mpp=mpp)[part.clip(whole).slices((whole.x, whole.y))]
    np.testing.assert_array_equal(slide.read(part, mpp=mpp), reference)


def test_white_around_an_image_changes_nothing() -> None:
    padded = np.full((100, 123, 3), 255, np.uint8)
    padded[20:80, 20:103] = PIXELS
    one, other = open_array(PIXELS, mpp=0.5), open_array(padded, mpp=0.5)
    np.testing.assert_array_equal(one.read(Box(-5, -5, 50, 50), mpp=1.0), other.read(Box(5, 5, 50, 50), mpp=1.0))


def test_a_read_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    slide = open_array(PIXELS, mpp=0.5)
    reference = slide.read(Box(-3, -3, 40, 30), mpp=1.3)
    for limit in (1, 50, 333, 2000):
        monkeypatch.setattr(reader_module, "_MAX_SOURCE_PX", limit)
        np.testing.assert_array_equal(slide.read(Box(-3, -3, 40, 30), mpp=1.3), reference)


@pytest.mark.parametrize(
    ("mpp", "level"), [(0.1, 0), (0.25, 0), (0.49, 0), (0.496, 1), (0.5, 1), (0.99, 1), (1.0, 2), (9.0, 2)]
)
def test_the_coarsest_level_that_is_fine_enough_is_read(mpp: float, level: int) -> None:
    slide = PyramidReader(Pyramid, name="pyramid")
    assert (slide.read(Box(3, 3, 2, 2), mpp=mpp) == 10 * level).all()


def test_downsamples_are_the_whole_numbers_that_made_the_level() -> None:
    assert [level.downsample for level in PyramidReader(Pyramid, name="p").levels] == [1.0, 2.0, 4.0]


def test_working_size_and_thumbnail() -> None:
    slide = open_array(PIXELS, mpp=0.5)
    assert working_size(slide, 0.25) == (166, 120)
    assert working_size(slide, 1000) == (1, 1)
    image, downsample = slide.thumbnail(40)
    assert image.shape == (29, 40, 3)
    assert downsample == pytest.approx(83 / 40)
    image, downsample = slide.thumbnail(4000)
    np.testing.assert_array_equal(image, PIXELS)
    assert downsample == 1.0


def test_damage_is_one_sentence_with_file_and_place() -> None:
    slide = PyramidReader(Broken, name="broken", path=Path("broken.svs"))
    with pytest.raises(SlideError, match=r"broken.svs is damaged: level 0, x 8–11, y 9–13 px .*\(tile 7: bad Huffman"):
        slide.read(Box(8, 9, 3, 4), mpp=0.25)


def test_a_missing_or_impossible_resolution_is_refused_with_the_way_out() -> None:
    class Silent(Pyramid):
        def __init__(self, stated: float | None = None) -> None:
            super().__init__()
            self.stated_mpp = stated

    with pytest.raises(ResolutionError, match="does not state its resolution.*--mpp 0.25"):
        PyramidReader(Silent, name="x")
    with pytest.raises(ResolutionError, match="28.97.*--mpp 0.25"):
        PyramidReader(lambda: Silent(28.97), name="x")
    with pytest.raises(ResolutionError, match="outside"):
        PyramidReader(Silent, name="x", mpp=352.0)
    assert PyramidReader(lambda: Silent(28.97), name="x", mpp=0.5).mpp == 0.5


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_only_rgb_bytes_are_an_image(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8 array of shape"):
        open_array(bad, mpp=0.5)


def test_pickling_closing_and_fingerprint() -> None:
    slide = open_array(PIXELS, mpp=0.5, name="a")
    again = pickle.loads(pickle.dumps(slide))
    np.testing.assert_array_equal(again.read(Box(1, 2, 3, 4), mpp=0.5), PIXELS[2:6, 1:4])
    assert again.fingerprint == slide.fingerprint
    assert open_array(PIXELS.swapaxes(0, 1), mpp=0.5).fingerprint != slide.fingerprint
    with slide:
        slide.read(Box(1, 2, 3, 4), mpp=0.5)
    np.testing.assert_array_equal(slide.read(Box(1, 2, 3, 4), mpp=0.5), PIXELS[2:6, 1:4])


def test_threads_read_the_same() -> None:
    slide = open_array(PIXELS, mpp=0.5)
    boxes = [Box(i, i, 20, 20) for i in range(16)]
    expected = [slide.read(box, mpp=0.7) for box in boxes]
    found: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda i=i, box=box: found.update({i: slide.read(box, mpp=0.7)}))
        for i, box in enumerate(boxes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, pixels in enumerate(expected):
        np.testing.assert_array_equal(found[i], pixels)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (1 << 31, 10)])
def test_no_backend_brings_in_an_impossible_size(size: tuple[int, int]) -> None:
    class Odd(Pyramid):
        def __init__(self) -> None:
            super().__init__()
            self.levels = (StoredLevel(size),)

    with pytest.raises(SlideError, match="an image of"):
        PyramidReader(Odd, name="x")


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError("division by zero"), AssertionError()])
def test_whatever_a_backend_raises_is_a_reason_not_to_open(error: Exception) -> None:
    def fail() -> Pyramid:
        raise error

    with pytest.raises(SlideError, match="damaged: "):
        PyramidReader(fail, name="x")


def test_pixels_that_are_not_square_are_refused_and_a_given_resolution_wins() -> None:
    class Uneven(Pyramid):
        def __init__(self, stated: tuple[float, float]) -> None:
            super().__init__()
            self.stated_mpp = stated

    with pytest.raises(ResolutionError, match=r"x states pixels of 0.25 × 0.5 µm; square ones.*--mpp"):
        PyramidReader(lambda: Uneven((0.25, 0.5)), name="x")
    with pytest.raises(ResolutionError, match="nan"):
        PyramidReader(lambda: Uneven((0.25, float("nan"))), name="x")
    assert PyramidReader(lambda: Uneven((0.252, 0.248)), name="x").mpp == pytest.approx(0.25)
    assert PyramidReader(lambda: Uneven((0.25, 0.5)), name="x", mpp=0.25).mpp == 0.25
