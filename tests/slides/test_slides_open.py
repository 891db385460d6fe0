from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histocyte.core.errors import InputError, ResolutionError, SlideError
from histocyte.core.geometry import Box
from histocyte.slides.listing import list_slides
from histocyte.slides.open import open_slide
from histocyte.slides.openslide_reader import OpenSlideBackend, dicom_files

SLIDES = Path(__file__).parents[2].parent / "shared" / "data" / "wsi"
needs_slides = pytest.mark.skipif(not SLIDES.is_dir(), reason="no real slides here")


@needs_slides
@pytest.mark.parametrize(
    ("name", "size", "mpp", "levels"),
    [
        ("CMU-1-Small-Region.svs", (2220, 2967), 0.499, [1]),
        ("instanseg_HE_example.ome.tif", (1380, 1484), 0.50008, [1]),
        ("test3-DAPI-2-387.ndpi", (3968, 4864), 0.228175, [1, 2, 4, 8, 16, 32, 64]),
    ],
)
def test_real_slides_that_state_their_resolution(
    name: str, size: tuple[int, int], mpp: float, levels: list[int]
) -> None:
    slide = open_slide(SLIDES / name)
    assert slide.size == size
    assert slide.mpp == pytest.approx(mpp, rel=1e-4)
    assert [level.downsample for level in slide.levels] == levels
    whole = slide.read(Box(500, 600, 90, 80), mpp=1.0)
    assert whole.std() > 5
    np.testing.assert_array_equal(slide.read(Box(530, 610, 20, 20), mpp=1.0), whole[10:30, 30:50])
    again = pickle.loads(pickle.dumps(slide))
    assert len(pickle.dumps(slide)) < 2000
    assert again.fingerprint == slide.fingerprint
    np.testing.assert_array_equal(again.read(Box(500, 600, 90, 80), mpp=1.0), whole)


@needs_slides
@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("tcga-cr-7395-01a-01-ts1.svs", "does not state"),
        ("dicom_camelyon_overview", "28.96"),
        ("dicom_bonemarrow_jpeg/jpeg.dcm", "16.783"),
        ("dicom_bonemarrow_jpeg2000", "16.783"),
        ("dicom_bonemarrow_raw", "16.783"),
        ("boxes_generic_pyramid.tiff", "352.778"),
    ],
)
def test_real_slides_without_a_possible_resolution(name: str, states: str) -> None:
    with pytest.raises(ResolutionError, match=rf"{states}.*--mpp 0.25"):
        open_slide(SLIDES / name)
    slide = open_slide(SLIDES / name, mpp=1.0)
    width, height = slide.size
    assert slide.read(Box(0, 0, width // 2, height // 2), mpp=2.0).std() > 1
    assert slide.name == Path(name).stem


@needs_slides
def test_the_three_transfer_syntaxes_show_the_same_field() -> None:
    views = [
        open_slide(SLIDES / f"dicom_bonemarrow_{kind}", mpp=0.5).read(Box(0, 0, 957, 715), mpp=0.5).astype(int)
        for kind in ("raw", "jpeg", "jpeg2000")
    ]
    assert np.abs(views[0] - views[1]).mean() < 4
    assert np.abs(views[0] - views[2]).mean() < 4


@needs_slides
def test_between_the_pixels_of_a_level_the_box_does_not_matter() -> None:
    backend = OpenSlideBackend(SLIDES / "tcga-cr-7395-01a-01-ts1.svs")
    whole = backend.read_level(1, Box(400, 300, 700, 400))
    for box in (Box(401, 301, 90, 80), Box(500, 505, 40, 30), Box(760, 310, 333, 222)):
        np.testing.assert_array_equal(backend.read_level(1, box), whole[box.slices((400, 300))])


@needs_slides
def test_a_truncated_slide_names_file_and_place(tmp_path: Path) -> None:
    path = tmp_path / "cut.svs"
    whole = (SLIDES / "CMU-1-Small-Region.svs").read_bytes()
    path.write_bytes(whole)
    slide = open_slide(path)
    top = slide.read(Box(0, 0, 200, 200), mpp=0.499)
    slide.close()
    # The directory lies behind the pixels: what a copy of the right size but with a hole looks like.
    path.write_bytes(whole[:600_000] + bytes(300_000) + whole[900_000:])
    slide = open_slide(path)
    with pytest.raises(SlideError, match=r"cut\.svs is damaged: level 0, x 0–2220, y 0–1889 px"):
        slide.read(Box(0, 0, 2220, 2967), mpp=0.499)
    np.testing.assert_array_equal(slide.read(Box(0, 0, 200, 200), mpp=0.499), top)
    path.write_bytes(whole[:600_000])
    with pytest.raises(SlideError, match=r"cut\.svs cannot be opened \(OpenSlide: .*; TIFF: .*\)"):
        open_slide(path)


def test_one_sentence_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no slide")
    with pytest.raises(
        SlideError, match=r"^[^\n]*notes\.txt cannot be opened \(OpenSlide: .*; TIFF: .*; image: .*\)[^\n]*$"
    ):
        open_slide(tmp_path / "notes.txt", mpp=0.5)
    with pytest.raises(SlideError, match=r"No such file: .*note\.txt\. Did you mean .*notes\.txt"):
        open_slide(tmp_path / "note.txt")
    with pytest.raises(SlideError, match="a folder without DICOM files"):
        open_slide(tmp_path)


def _make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(128) + b"DICM" if name.endswith(".dcm") else b"x")


def test_a_folder_gives_its_slides_in_natural_order(tmp_path: Path) -> None:
    _make(tmp_path, "s10.svs", "s2.svs", "S1.SVS", "s2.jpg", "s2_thumbnail.png", "a.png", "a_mask.png", "a_2.png")
    _make(tmp_path, "notes.csv", "._s2.svs", "mr.mrxs", "mr/Data0000.dat", "case/1.dcm", "case/2.dcm", "deep/er/x.svs")
    names = [p.name for p in list_slides([tmp_path])]
    assert names == ["a.png", "a_2.png", "case", "x.svs", "mr.mrxs", "S1.SVS", "s2.svs", "s10.svs"]
    assert [p.name for p in list_slides([tmp_path / "case"])] == ["case"]


def test_files_folders_and_patterns_without_doubles(tmp_path: Path) -> None:
    _make(tmp_path, "s1.svs", "s2.svs", "t.txt", "deep/er/x.svs")
    found = list_slides([tmp_path / "s2.svs", tmp_path, str(tmp_path / "*.svs"), os.path.join(tmp_path, ".", "s1.svs")])
    assert [p.name for p in found] == ["x.svs", "s1.svs", "s2.svs"]
    assert [p.name for p in list_slides([str(tmp_path / "**" / "*.svs")])] == ["x.svs", "s1.svs", "s2.svs"]
    assert [p.name for p in list_slides([tmp_path / "t.txt"])] == ["t.txt"]


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    _make(tmp_path, "t.txt", "slide1.svs")
    with pytest.raises(InputError, match=r"No such file: .*slide2\.svs\. Did you mean .*slide1\.svs"):
        list_slides([tmp_path / "slide2.svs"])
    with pytest.raises(InputError, match=r"No slide in .*\.ndpi\. .*\.svs"):
        list_slides([str(tmp_path / "*.ndpi")])
    _make(tmp_path, "empty/readme.md")
    with pytest.raises(InputError, match="No slide in"):
        list_slides([tmp_path / "empty"])


@needs_slides
def test_a_dicom_slide_is_the_same_by_file_and_by_folder(tmp_path: Path) -> None:
    shutil.copytree(SLIDES / "dicom_camelyon_overview", tmp_path / "case", copy_function=shutil.copyfile)
    (tmp_path / "case" / "notes.txt").write_text("x")
    by_folder, by_file = open_slide(tmp_path / "case", mpp=1.0), open_slide(dicom_files(tmp_path / "case")[0], mpp=1.0)
    assert by_folder.fingerprint == by_file.fingerprint
    np.testing.assert_array_equal(by_folder.thumbnail(300)[0], by_file.thumbnail(300)[0])


def test_an_image_folder_is_not_a_slide(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(SlideError):
        open_slide(tmp_path, mpp=0.5)
    assert [p.name for p in list_slides([tmp_path])] == ["x.png"]
