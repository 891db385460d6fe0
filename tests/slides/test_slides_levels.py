from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from histocyte.core.geometry import Box
from histocyte.slides.levels import downsample_of
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import StoredLevel

FULL = (2400, 3000)
TILE = (512, 512)


@pytest.mark.parametrize(
    ("full", "size", "tile", "downsample"),
    [
        (FULL, (1200, 1500), TILE, 2),
        ((2401, 2999), (1200, 1499), None, 2),  # the last pixel dropped
        ((2401, 2999), (1201, 1500), None, 2),  # or kept
        (FULL, (800, 1000), TILE, 3),
        ((24_000, 30_000), (11_997, 15_003), None, 2),  # a few pixels less and more
        (FULL, (1536, 1536), TILE, 2),  # 1200 × 1500 filled up
        (FULL, (1024, 1024), TILE, 4),  # by 3 as well, which no scanner does
        ((40_000, 40_000), (78, 78), None, 512),  # nearer to 513, which no scanner does
        (FULL, (1231, 1538), None, 1.95),  # both sides agree
        (FULL, (512, 512), TILE, None),  # by 8, 16, 32, ...
        (FULL, (1200, 1000), None, None),  # the sides disagree
        (FULL, (1280, 1500), None, None),
        ((24_000, 30_000), (12_006, 14_994), None, None),
        ((1000, 700), (1280, 1280), (256, 256), None),
        ((2**31 - 1, 2**31 - 1), (700, 512), TILE, None),
    ],
)
def test_the_whole_factor_that_explains_the_size(
    full: tuple[int, int], size: tuple[int, int], tile: tuple[int, int] | None, downsample: float | None
) -> None:
    assert downsample_of(full, StoredLevel(size, tile)) == (downsample and pytest.approx(downsample, abs=1e-3))


def test_what_the_file_states_goes_before_what_its_size_suggests() -> None:
    assert downsample_of(FULL, StoredLevel((512, 512), TILE, 16.0)) == 16
    assert downsample_of(FULL, StoredLevel((1536, 1536), TILE, 2.004)) == 2  # of a spacing that was rounded
    assert downsample_of(FULL, StoredLevel((1600, 2000), TILE, 1.5)) == 1.5
    assert downsample_of(FULL, StoredLevel((300, 375), TILE, 4.0)) is None  # less than the slide
    assert downsample_of(FULL, StoredLevel((1536, 2048), TILE, 8.0)) is None  # more than a tile beyond it


def _picture() -> np.ndarray:
    y, x = np.mgrid[0:1000, 0:1400]
    return np.stack([x * 255 // 1400, y * 255 // 1000, (x + y) * 255 // 2400], axis=2).astype(np.uint8)


@pytest.mark.parametrize("ome", [False, True])
def test_a_padded_level_shows_the_same_place(tmp_path: Path, ome: bool) -> None:
    full = _picture()
    half = np.full((512, 768, 3), 255, np.uint8)
    half[:500, :700] = full[::2, ::2]
    path = tmp_path / ("x.ome.tif" if ome else "x.tif")
    shared = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
    with tifffile.TiffWriter(path, ome=ome) as writer:
        writer.write(full, subifds=1 if ome else 0, metadata={"axes": "YXS"} if ome else None, **shared)
        writer.write(half, subfiletype=1, metadata=None, **shared)
    with open_slide(path, mpp=0.25) as slide:
        assert [level.downsample for level in slide.levels] == [1, 2]
        corner = slide.read(Box(600, 400, 64, 64), mpp=0.5).astype(int)
    assert np.abs(corner - full[800:928:2, 1200:1328:2]).max() <= 3


def test_a_level_that_nothing_explains_is_not_read(tmp_path: Path) -> None:
    full = _picture()
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for image, kind in ((full, 0), (full[:400, :700] * 0, 1), (full[::4, ::4], 1)):
            writer.write(
                np.ascontiguousarray(image), tile=(256, 256), photometric="rgb", subfiletype=kind, metadata=None
            )
    with open_slide(tmp_path / "x.tif", mpp=0.25) as slide:
        assert [level.downsample for level in slide.levels] == [1, 4]
        assert slide.read(Box(100, 100, 20, 20), mpp=0.5).min() > 20
        np.testing.assert_array_equal(slide.read(Box(9, 8, 20, 20), mpp=1.0), full[32:112:4, 36:116:4])
