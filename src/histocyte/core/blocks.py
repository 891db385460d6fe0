"""The slide cut into blocks: who owns which point, and where two owners meet.

All boxes are in the working frame (pixels at the network's resolution, see `core.geometry`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.geometry import Box

__all__ = ["Block", "BlockGrid"]


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of work: maps are predicted on `field`, the cells whose centre lies in `core` belong to it."""

    index: int
    core: Box
    field: Box


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """Blocks in row-major order whose cores partition the plane of `size`.

    Attributes:
        size: Width and height of the slide, working px.
        core_px: Side of a core, working px.
        halo_px: What a field has beyond its core on every side, cut off at the slide's edge. A nucleus whose
            centre lies in the core is seen whole if no point of it is further from its centre.
        band_px: Cells with their centre this close to a border between two cores are reported by both
            sides and settled afterwards (`store.settle`).
    """

    size: tuple[int, int]
    core_px: int = 2048
    halo_px: int = 64
    band_px: int = 12

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.core_px < 1 or not 0 <= self.band_px <= self.halo_px:
            raise ValueError(f"Impossible block grid: {self}")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of (rows, columns) of blocks."""
        return -(-self.size[1] // self.core_px), -(-self.size[0] // self.core_px)

    def __len__(self) -> int:
        """Number of blocks."""
        rows, columns = self.shape
        return rows * columns

    def __getitem__(self, index: int) -> Block:
        """Block number `index`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        row, column = divmod(index, self.shape[1])
        slide = Box(0, 0, *self.size)
        core = Box(column * self.core_px, row * self.core_px, self.core_px, self.core_px).clip(slide)
        return Block(index, core, core.expand(self.halo_px).clip(slide))

    def __iter__(self) -> Iterator[Block]:
        """All blocks in row-major order."""
        return (self[i] for i in range(len(self)))

    def owner(self, xy: NDArray[np.floating]) -> NDArray[np.int64]:
        """(N,) index of the block whose core holds each point of (N, 2) working-frame x, y.

        Points on the slide's far edges go to the last block there.
        """
        rows, columns = self.shape
        column = np.clip(np.floor(xy[:, 0] / self.core_px), 0, columns - 1).astype(np.int64)
        row = np.clip(np.floor(xy[:, 1] / self.core_px), 0, rows - 1).astype(np.int64)
        return row * columns + column

    def in_band(self, xy: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) whether each point of (N, 2) working-frame x, y lies within `band_px` of a border between cores."""
        near = np.zeros(len(xy), np.bool_)
        for axis, count in ((0, self.shape[1]), (1, self.shape[0])):
            border = np.clip(np.rint(xy[:, axis] / self.core_px), 1, max(1, count - 1))
            near |= (np.abs(xy[:, axis] - border * self.core_px) <= self.band_px) & (count > 1)
        return near

    def neighbours(self, index: int) -> tuple[int, ...]:
        """Indices of the up to eight blocks around `index`."""
        rows, columns = self.shape
        row, column = divmod(index, columns)
        return tuple(
            r * columns + c
            for r in range(max(0, row - 1), min(rows, row + 2))
            for c in range(max(0, column - 1), min(columns, column + 2))
            if (r, c) != (row, column)
        )
