"""Tiles and strips that unpack to more than they are for."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from histocyte.core.errors import InputError, SlideError
from histocyte.core.geometry import Box
from histocyte.formats.foreign.open import open_cells
from histocyte.slides import tiff_pieces
from histocyte.slides.reader import PyramidReader
from histocyte.slides.tiff_reader import TiffBackend

ALL = Box(0, 0, 64, 64)


def opened(path: Path) -> PyramidReader:
    return PyramidReader(lambda: TiffBackend(path), name="x", path=path, mpp=0.5)


def test_a_tile_of_zlib_that_unpacks_to_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_pieces, "_HAS_CODECS", False)
    monkeypatch.setattr(tifffile.TiffPage, "decode", lambda *_, **__: pytest.fail("it was unpacked"))
    bomb = zlib.compress(bytes(8 << 20))
    path = tmp_path / "x.tif"
    tifffile.imwrite(
        *(path, iter([bomb])), shape=(64, 64, 3), dtype=np.uint8, photometric="rgb", tile=(64, 64), compression="zlib"
    )
    with pytest.raises(SlideError, match="a piece that unpacks to more than the 64 × 64 px"):
        opened(path).read(ALL, mpp=0.5)
    tifffile.imwrite(
        *(path, iter([bomb])), shape=(64, 64), dtype=np.uint8, photometric="minisblack", rowsperstrip=64, compression=8
    )
    with pytest.raises(InputError, match="a piece that unpacks to more than the 64 × 64 px"):
        open_cells(path)


def test_pieces_that_are_no_larger_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_pieces, "_HAS_CODECS", False)
    pixels = np.random.default_rng(0).integers(0, 256, (100, 90, 3), dtype=np.uint8)
    for options in ({"tile": (64, 64)}, {"rowsperstrip": 16}, {"rowsperstrip": 100}):
        tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", compression="zlib", **options)
        np.testing.assert_array_equal(opened(tmp_path / "x.tif").read(Box(0, 0, 90, 100), mpp=0.5), pixels)
