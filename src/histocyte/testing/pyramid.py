"""Write pictures as tiled pyramidal TIFF files that every slide reader opens, in bounded memory.

Tiles are compressed here, one at a time, so that neither a codec library nor the whole picture is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from histocyte.core.geometry import check_mpp

__all__ = ["write_large_pyramid", "write_pyramid"]

_SMALLEST = 512
"""The last level is the first whose longer side is no more than this, px."""


def write_pyramid(
    path: str | Path, image: NDArray[np.uint8], mpp: float, *, tile_px: int = 256, quality: int | None = 85
) -> None:
    """Write a picture as a pyramidal TIFF of halved levels.

    Args:
        path: The file, replaced if it is there.
        image: (H, W, 3) uint8 RGB.
        mpp: Its resolution, µm/px; stored as pixels per centimetre.
        tile_px: Side of a tile, a multiple of 16.
        quality: JPEG quality, 1–100; None compresses without loss (deflate).

    Raises:
        ResolutionError: The resolution is nonsense.
    """
    write_large_pyramid(path, image, (1, 1), mpp, tile_px=tile_px, quality=quality)


def write_large_pyramid(
    path: str | Path,
    image: NDArray[np.uint8],
    repeats: tuple[int, int],
    mpp: float,
    *,
    tile_px: int = 256,
    quality: int | None = 85,
) -> None:
    """Write a picture laid side by side `repeats` = (across, down) times as one pyramidal TIFF.

    The large picture never exists in memory: each tile is made when its turn comes, and equal tiles only once.
    To that end a picture that is repeated is first cut at the right and bottom to a whole number of tiles.

    Raises:
        ResolutionError: The resolution is nonsense.
    """
    check_mpp(mpp)
    mosaic = _Mosaic(image, repeats, tile_px)
    width, height = mosaic.size(0)
    per_cm = 1e4 / mpp
    with tifffile.TiffWriter(path, bigtiff=width * height > 2**32) as writer:
        for level in range(mosaic.levels):
            w, h = mosaic.size(level)
            writer.write(
                mosaic.encoded_tiles(level, quality),
                shape=(h, w, 3),
                dtype=np.uint8,
                photometric="rgb",
                tile=(tile_px, tile_px),
                compression="deflate",
                subfiletype=1 if level else 0,
                resolution=(per_cm / 2**level, per_cm / 2**level),
                resolutionunit="CENTIMETER",
                software=False,
                metadata=None,
            )
    if quality is not None:
        _declare_jpeg(path)


def _declare_jpeg(path: str | Path) -> None:
    """Say of a file whose tiles are JPEG streams that they are.

    tifffile takes tiles that are already compressed, but JPEG ones only where it finds a codec library, which it
    would not use. So the tiles go in under another name.
    """
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            assert isinstance(page, tifffile.TiffPage)
            page.tags["Compression"].overwrite(int(tifffile.COMPRESSION.JPEG))
            page.tags["PhotometricInterpretation"].overwrite(int(tifffile.PHOTOMETRIC.YCBCR))


class _Mosaic:
    """Tiles of every level of a repeated picture."""

    def __init__(self, image: NDArray[np.uint8], repeats: tuple[int, int], tile_px: int) -> None:
        if repeats != (1, 1):
            height, width = ((n // tile_px * tile_px) or n for n in image.shape[:2])
            image = image[:height, :width]
        self._image = image
        self._tile_px = tile_px
        self._width, self._height = image.shape[1] * repeats[0], image.shape[0] * repeats[1]
        longest = max(self._width, self._height)
        self.levels = 1
        while -(-longest // 2 ** (self.levels - 1)) > _SMALLEST:
            self.levels += 1
        # Two tiles are equal when they start at the same place in the picture and both, or neither, meet the edge.
        self._cached = lru_cache(maxsize=512)(self._make)
        self._cached_codes = lru_cache(maxsize=4096)(self._encode)

    def size(self, level: int) -> tuple[int, int]:
        """Width and height of a level, px."""
        return -(-self._width // 2**level), -(-self._height // 2**level)

    def encoded_tiles(self, level: int, quality: int | None) -> Iterator[bytes] | Iterator[NDArray[np.uint8]]:
        """The level's tiles in row-major order: JPEG files, or arrays for a codec that tifffile has itself."""
        width, height = self.size(level)
        for top in range(0, height, self._tile_px):
            for left in range(0, width, self._tile_px):
                key = self._key(level, left, top)
                yield self._cached(*key) if quality is None else self._cached_codes(quality, key)

    def _key(self, level: int, left: int, top: int) -> tuple[int, int, int, int, int]:
        """Level, place in the picture (level 0), and how much of the tile there is before the mosaic ends."""
        x, y, span = left << level, top << level, self._tile_px << level
        room = (min(span, self._width - x), min(span, self._height - y))
        return level, x % self._image.shape[1], y % self._image.shape[0], *room

    def _encode(self, quality: int, key: tuple[int, int, int, int, int]) -> bytes:
        done, coded = cv2.imencode(".jpg", self._cached(*key)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done
        return bytes(coded)

    def _make(self, level: int, x: int, y: int, room_x: int, room_y: int) -> NDArray[np.uint8]:
        """One tile; beyond the mosaic's edge the last pixel goes on."""
        if level == 0:
            columns = (x + np.minimum(np.arange(self._tile_px), room_x - 1)) % self._image.shape[1]
            rows = (y + np.minimum(np.arange(self._tile_px), room_y - 1)) % self._image.shape[0]
            return np.ascontiguousarray(self._image[rows[:, None], columns])
        half = self._tile_px << (level - 1)
        quarters = np.empty((2, self._tile_px, 2, self._tile_px, 3), np.uint8)
        for row, column in np.ndindex(2, 2):
            quarters[row, :, column] = self._quarter(level - 1, x, y, room_x, room_y, column * half, row * half)
        whole = quarters.reshape(2 * self._tile_px, 2 * self._tile_px, 3)
        return np.asarray(cv2.resize(whole, (self._tile_px, self._tile_px), interpolation=cv2.INTER_AREA), np.uint8)

    def _quarter(self, level: int, x: int, y: int, room_x: int, room_y: int, dx: int, dy: int) -> NDArray[np.uint8]:
        """The tile of the finer level at (dx, dy) in this one, or the last one before the edge, drawn on."""
        half = self._tile_px << level
        if dx >= room_x or dy >= room_y:
            near = self._quarter(level, x, y, room_x, room_y, min(dx, (room_x - 1) // half * half),
                                 min(dy, (room_y - 1) // half * half))  # fmt: skip
            rows = slice(-1, None) if dy >= room_y else slice(None)
            columns = slice(-1, None) if dx >= room_x else slice(None)
            return np.asarray(np.broadcast_to(near[rows, columns], near.shape), np.uint8)
        height, width = self._image.shape[:2]
        room = min(half, room_x - dx), min(half, room_y - dy)
        return self._cached(level, (x + dx) % width, (y + dy) % height, *room)
