from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray

from histocyte.core.errors import ResolutionError
from histocyte.testing.pyramid import write_large_pyramid, write_pyramid


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(60, 255, (21, 30, 3)).astype(np.float32)
    return cv2.resize(coarse, (1201, 850), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def _level(slide: openslide.OpenSlide, level: int) -> NDArray[np.uint8]:
    return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))


def _halved(image: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """Area means over squares of 2**level, the last row and column drawn on where they do not fill one."""
    step = 2**level
    padded = np.pad(image, [(0, -n % step) for n in image.shape[:2]] + [(0, 0)], mode="edge")
    return cv2.resize(padded, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(("quality", "tolerance"), [(85, 3.0), (None, 0.0)])
def test_openslide_reads_pixels_and_resolution(
    tmp_path: Path, image: NDArray[np.uint8], quality: int | None, tolerance: float
) -> None:
    path = tmp_path / "slide.tiff"
    write_pyramid(path, image, 0.23, quality=quality)
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((1201, 850), (601, 425), (301, 213))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.23, rel=1e-4)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.23, rel=1e-4)
        assert np.abs(_level(slide, 0).astype(int) - image).mean() <= tolerance
        for level in (1, 2):
            small = _halved(image, level)
            assert np.abs(_level(slide, level).astype(int) - small).max() < 20 * tolerance + 3


def test_tifffile_reads_the_lossless_one_and_the_tags_of_both(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    for quality in (None, 80):
        write_pyramid(tmp_path / "slide.tiff", image, 0.5, quality=quality)
        with tifffile.TiffFile(tmp_path / "slide.tiff") as file:
            page = file.pages[0]
            numerator, denominator = page.tags["XResolution"].value
            assert 1e4 * denominator / numerator == pytest.approx(0.5, rel=1e-4)
            assert page.tags["ResolutionUnit"].value == 3
            assert [p.is_reduced for p in file.pages] == [False, True, True]
            if quality is None:
                assert np.array_equal(page.asarray(), image)
            else:
                assert page.compression == tifffile.COMPRESSION.JPEG


def test_jpeg_needs_no_codec_library(tmp_path: Path, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    write_pyramid(tmp_path / "slide.tiff", image, 0.25)
    assert openslide.OpenSlide.detect_format(tmp_path / "slide.tiff") == "generic-tiff"


def test_repeats_lie_side_by_side_at_every_level(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    path = tmp_path / "large.tiff"
    write_large_pyramid(path, image, (2, 2), 0.25, quality=None)
    whole = np.tile(image[:768, :1024], (2, 2, 1))
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (2048, 1536)
        assert np.array_equal(_level(slide, 0), whole)
        for level in range(1, slide.level_count):
            assert np.abs(_level(slide, level).astype(int) - _halved(whole, level)).max() < 3


def test_nonsense_resolution_is_refused(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    with pytest.raises(ResolutionError):
        write_pyramid(tmp_path / "slide.tiff", image, 0)
