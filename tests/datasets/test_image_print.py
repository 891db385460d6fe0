"""An image is known again by what it shows, and another is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.errors import ModelError
from histocyte.datasets import image_print as image_print_module
from histocyte.datasets.image_print import ImagePrint, PrintIndex, image_print

Picture = NDArray[np.uint8]


def tissue(seed: int, side: int = 512) -> Picture:
    """Dark spots of several sizes on a pale ground with some grain, as nuclei lie on a slide."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), (232, 205, 224), np.uint8)
    for _ in range(side * side // 500):
        centre = tuple(int(v) for v in rng.integers(0, side, 2))
        axes = tuple(int(v) for v in rng.integers(4, 14, 2))
        colour = tuple(int(v) for v in rng.normal((110, 70, 140), 25).clip(0, 255))
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return (image + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [tissue(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def index(pictures: list[Picture]) -> PrintIndex:
    # As they come back from a model's file.
    return PrintIndex([ImagePrint.from_text(image_print(p, 0.25).to_text()) for p in pictures])


def encoded(image: Picture, suffix: str, option: int, quality: int) -> Picture:
    _, content = cv2.imencode(suffix, image, [option, quality])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "as it is": lambda p: p,
    "JPEG 60": lambda p: encoded(p, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 60),
    "WebP 75": lambda p: encoded(p, ".webp", cv2.IMWRITE_WEBP_QUALITY, 75),
    "brighter": lambda p: cv2.convertScaleAbs(p, alpha=0.9, beta=20).astype(np.uint8),
    "a part": lambda p: p[130:450, 77:397],
    "part of a canvas": lambda p: np.pad(p, ((40, 90), (75, 10), (0, 0)), constant_values=255),
}
TURNS: dict[str, Callable[[Picture], Picture]] = {
    "kept": lambda p: p,
    "mirrored": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "turned left": lambda p: np.rot90(p),
    "turned right and mirrored": lambda p: np.rot90(p, 3)[::-1],
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("turn", TURNS)
def test_a_copy_is_known(copy: str, turn: str, pictures: list[Picture], index: PrintIndex) -> None:
    for number in (1, 4):
        assert index.find(TURNS[turn](COPIES[copy](pictures[number])), 0.25) == (number,)


def test_other_tissue_is_not_known(index: PrintIndex) -> None:
    assert [index.find(tissue(seed), 0.25) for seed in range(100, 108)] == [()] * 8


def test_a_copy_at_another_resolution_is_known_if_that_is_stated(pictures: list[Picture], index: PrintIndex) -> None:
    half = cv2.resize(pictures[3], (256, 256), interpolation=cv2.INTER_AREA).astype(np.uint8)
    assert index.find(half, 0.5) == (3,)


def test_images_of_estimated_resolution_are_compared_at_the_same_size_alone(
    pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [image_print(picture, None).to_text() for picture in pictures]
    index = PrintIndex([ImagePrint.from_text(text) for text in texts])
    assert index.find(pictures[3], None) == (3,)
    assert index.find(pictures[3][::-1], 0.31) == (3,)
    # Each at every other's resolution would be as many looks as there are pairs.
    monkeypatch.delattr(image_print_module, "_resized")
    assert PrintIndex([image_print(pictures[3], 0.5)]).find(pictures[3], None) == (0,)
    assert index.find(pictures[3], 0.5) == (3,)


def test_a_larger_image_that_holds_a_known_one_is_known(pictures: list[Picture]) -> None:
    whole = tissue(9, 1000)
    index = PrintIndex([image_print(whole[600:900, 200:500], 0.25)])
    assert index.find(whole, 0.25) == (0,)
    assert index.find(pictures[0], 0.25) == ()


@pytest.mark.parametrize("shape", [(64, 64), (20, 300), (300, 45), (2500, 130), (4500, 200)])
def test_a_print_comes_back_from_its_text(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (*(-(-side // 8) for side in shape), 3), np.uint8)
    image = np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    made = image_print(image, 0.25)
    read = ImagePrint.from_text(made.to_text())
    assert (read.shape, read.mpp, read.exact) == (made.shape, made.mpp, made.exact)
    np.testing.assert_array_equal(read.signs, made.signs)
    # Squares of more than 254 px keep places to a px.
    np.testing.assert_allclose(read.xy, made.xy, atol=1 if max(shape) > 254 * 16 else 0)
    assert PrintIndex([read]).find(image[::-1], 0.25) == (0,)


def test_a_picture_of_one_colour_is_no_copy_of_another() -> None:
    white = np.full((256, 256, 3), 255, np.uint8)
    made = image_print(white, 0.25)
    assert not made.tells
    assert PrintIndex([made]).find(white, 0.25) == ()
    assert PrintIndex([]).find(tissue(0, 128), 0.25) == ()


@pytest.mark.parametrize("text", ["", "%", "AAAA", "A" * 400])
def test_a_damaged_print_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="is damaged"):
        ImagePrint.from_text(text)


def test_real_tissue_is_told_apart() -> None:
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the data beside the repository")
    known = sorted((folder / "tnbc").glob("0[1-4]_*.webp"))
    others = [*sorted((folder / "tnbc").glob("1*_*.webp"))[:6], *sorted((folder / "dsb2018_he").glob("*.webp"))[:12]]
    read = {path: np.asarray(cv2.imread(str(path)), np.uint8) for path in (*known, *others)}
    index = PrintIndex([image_print(read[path], 0.25) for path in known])
    for number, path in enumerate(known[::3]):
        copy = encoded(np.rot90(read[path])[40:440, 30:400], ".jpg", cv2.IMWRITE_JPEG_QUALITY, 75)
        assert index.find(copy, 0.25) == (3 * number,)
    assert [path.name for path in others if index.find(read[path], 0.25)] == []


def test_prints_that_cannot_be_a_match_are_passed_over_and_no_others() -> None:
    rng = np.random.default_rng(0)
    count = rng.integers(1, 6, 400)
    start = np.cumsum(count) - count
    shift = rng.integers(0, 60, (count.sum(), 2)).astype(np.int32)
    theirs = rng.integers(0, 3, count.sum()).astype(np.intp)
    slices = [slice(s, s + n) for s, n in zip(start, count, strict=True)]
    agreeing = [image_print_module._agreeing(shift[s], theirs[s], np.zeros(len(shift), np.uint8)[s]) for s in slices]
    may = image_print_module._may_agree(shift, theirs, start, count)
    assert may.tolist() == [places > 1 for places in agreeing]
    assert 10 < may.sum() < 200


def test_content_that_repeats_itself_fills_neither_memory_nor_time() -> None:
    rng = np.random.default_rng(0)
    many = 40_000
    shift, theirs = rng.integers(0, 2000, (many, 2)).astype(np.int32), rng.integers(0, 256, many).astype(np.intp)
    apart = rng.integers(2, 7, many).astype(np.uint8)
    # Nine places of the print lie as in the image, and show the same to the bit.
    shift[100:109], theirs[100:109], apart[100:109] = (5000, 5000), np.arange(9), 0
    assert image_print_module._may_agree(shift, theirs, np.array([0]), np.array([many])).tolist() == [True]
    assert image_print_module._agreeing(shift, theirs, apart) == 9
    tiles = np.tile(tissue(1, 128), (6, 6, 1))
    assert PrintIndex([image_print(tiles, 0.25), image_print(tissue(2), 0.25)]).find(tiles[::-1], 0.25) == (0,)


@pytest.mark.parametrize("pairs", [1, 2, 5, 30, 64, 200])
def test_places_that_agree_are_counted_as_one_by_one(pairs: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shift = rng.integers(0, 12, (pairs, 2)).astype(np.int32)
        theirs = np.sort(rng.integers(0, max(2, pairs // 2), pairs))
        apart = rng.integers(0, 7, pairs).astype(np.uint8)
        quick = image_print_module._agreeing(shift, theirs, apart)
        assert quick == image_print_module._agreeing_plain(shift, theirs, apart)
