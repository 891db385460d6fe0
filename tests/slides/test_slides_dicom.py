from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from histocyte.core.errors import SlideError
from histocyte.core.geometry import Box
from histocyte.slides.dicom import read_instance, slide_series
from histocyte.slides.listing import list_slides
from histocyte.slides.open import open_slide
from histocyte.testing.vendor_files import write_dicom

_Y, _X = np.mgrid[0:1000, 0:1400]
PICTURE = np.stack([_X * 255 // 1400, _Y * 255 // 1000, (_X + _Y) * 255 // 2400], axis=2).astype(np.uint8)


def _level(factor: int, tile_px: int = 256) -> np.ndarray:
    """A reduction filled up to whole tiles, as some scanners store it."""
    small = PICTURE[::factor, ::factor]
    height, width = (-(-side // tile_px) * tile_px for side in small.shape[:2])
    out = np.full((height, width, 3), 255, np.uint8)
    out[: small.shape[0], : small.shape[1]] = small
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A slide of three padded levels behind a report and before another slide, in the order of names."""
    (tmp_path / "0_report.dcm").write_bytes(bytes(128) + b"DICM" + bytes(64))
    write_dicom(tmp_path / "1_label.dcm", PICTURE[:90, :90], series="1.2.9", mpp=0.25, kind="LABEL")
    write_dicom(tmp_path / "2_full.dcm", PICTURE, series="1.2.9", mpp=0.25)
    write_dicom(tmp_path / "3_half.dcm", _level(2), series="1.2.9", mpp=0.5)
    write_dicom(tmp_path / "4_eighth.dcm", _level(8), series="1.2.9", mpp=2.004)
    write_dicom(tmp_path / "5_other.dcm", PICTURE[:300, :400], series="1.2.10", mpp=0.5)
    return tmp_path


def test_the_slide_is_found_behind_other_objects(folder: Path) -> None:
    with open_slide(folder) as slide:
        assert slide.size == (1400, 1000)
        assert slide.mpp == pytest.approx(0.25)
        np.testing.assert_array_equal(slide.read(Box(5, 7, 30, 20), mpp=0.25), PICTURE[7:27, 5:35])
        assert len(slide.notes) == 1
        assert "2 slides; 2_full.dcm is read" in slide.notes[0]
        assert "5_other.dcm (series 1.2.10)" in slide.notes[0]
    (folder / "5_other.dcm").unlink()
    assert open_slide(folder).notes == ()


def test_levels_are_as_coarse_as_their_pixel_spacing_says(folder: Path) -> None:
    with open_slide(folder) as slide:
        # 256 × 256 px might be a 4th, an 8th, a 16th, ... filled up: the sizes alone do not tell.
        assert [level.downsample for level in slide.levels] == [1, 2, 8]
        half = slide.read(Box(600, 400, 64, 64), mpp=0.5).astype(int)
        eighth = slide.read(Box(100, 60, 64, 60), mpp=2.0).astype(int)
    assert np.abs(half - PICTURE[800:928:2, 1200:1328:2]).max() <= 3
    assert np.abs(eighth - PICTURE[480:960:8, 800:1312:8]).max() <= 4


def test_one_slide_for_each_series_however_it_is_asked_for(folder: Path) -> None:
    slides = [folder / "2_full.dcm", folder / "5_other.dcm"]
    assert list_slides([folder]) == slides
    assert list_slides([folder, str(folder / "[2-5]*.dcm")]) == slides
    assert open_slide(slides[1]).size == (400, 300)
    (folder / "5_other.dcm").unlink()
    assert list_slides([folder]) == [folder]
    assert list_slides([folder, folder / "3_half.dcm"]) == [folder]


def test_all_files_of_a_slide_make_its_fingerprint_and_no_others(folder: Path) -> None:
    before = open_slide(folder).fingerprint
    assert open_slide(folder / "3_half.dcm").fingerprint == before
    write_dicom(folder / "5_other.dcm", PICTURE[:200, :400], series="1.2.10", mpp=0.5)
    assert open_slide(folder).fingerprint == before
    write_dicom(folder / "4_eighth.dcm", 255 - _level(8), series="1.2.9", mpp=2.004)
    assert open_slide(folder).fingerprint != before


def test_a_folder_without_a_slide_says_so(tmp_path: Path) -> None:
    (tmp_path / "report.dcm").write_bytes(bytes(128) + b"DICM" + bytes(64))
    write_dicom(tmp_path / "label.dcm", PICTURE[:90, :90], series="1.2.9", mpp=0.25, kind="LABEL")
    with pytest.raises(SlideError, match="a folder of 2 DICOM files, none a level of a slide"):
        open_slide(tmp_path)


def test_the_head_says_series_size_and_spacing(folder: Path) -> None:
    instance = read_instance(folder / "3_half.dcm")
    assert instance is not None
    assert (instance.series, instance.is_level, instance.size) == ("1.2.9", True, (768, 512))
    assert instance.spacing_mm == pytest.approx((0.0005, 0.0005))
    label = read_instance(folder / "1_label.dcm")
    assert label is not None
    assert not label.is_level


def test_a_cut_or_altered_head_is_no_slide_and_no_error(folder: Path) -> None:
    whole = (folder / "2_full.dcm").read_bytes()[:1200]
    chance = np.random.default_rng(0)
    path = folder / "bad.dcm"
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        read_instance(path)
    for _ in range(200):
        altered = bytearray(whole)
        for place in chance.integers(132, len(whole), 3):
            altered[place] = chance.integers(256)
        path.write_bytes(bytes(altered))
        read_instance(path)
    path.write_bytes(whole[:132] + b"\x08\0\x05\0SQ\0\0\xff\xff\xff\xff" * 5000)  # a sequence in a sequence in ...
    assert read_instance(path) is None
    assert [series[0].series for series in slide_series(folder)] == ["1.2.9", "1.2.10"]
