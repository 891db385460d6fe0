"""A region cut into squares of a grid: how much of each lies in it, how many cells are there, and resamples of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from histocyte.core.errors import InputError

__all__ = ["MAX_SQUARES", "SortedPoints", "Squares", "cut_into_squares", "resampled_sums"]

MAX_SQUARES = 250_000
"""A slide of 60 mm × 40 mm has 38,400 of 250 µm; far more take minutes, and hold less than a cell each."""

_AT_ONCE = 2_000_000
"""Numbers drawn at a time in the bootstrap: 16 MB."""


class SortedPoints:
    """Points in the order of their x, so that a small region does not have to ask all of them.

    Args:
        xy: (N, 2) px.
    """

    def __init__(self, xy: NDArray[np.float64]) -> None:
        self._order = np.argsort(xy[:, 0], kind="stable")
        self._xy = xy[self._order]

    def inside(self, region: BaseGeometry) -> NDArray[np.int64]:
        """The points in a region, its outline included, in ascending order of their place."""
        if region.is_empty:
            return np.zeros(0, np.int64)
        left, top, right, bottom = region.bounds
        first, last = np.searchsorted(self._xy[:, 0], left, "left"), np.searchsorted(self._xy[:, 0], right, "right")
        x, y = self._xy[first:last].T
        near = np.flatnonzero((y >= top) & (y <= bottom))
        if len(near):
            shapely.prepare(region)
            near = near[shapely.intersects_xy(region, x[near], y[near])]
        return np.sort(self._order[first + near])


@dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """The squares of a grid, fixed to the slide's corner, that a region touches: R rows, C columns.

    Attributes:
        region: The region, prepared, level-0 px.
        side_px: Side of a square, level-0 px.
        row, column: The first one's place in the grid of the slide.
        area_px2: (R, C) area of the region in each square.
    """

    region: BaseGeometry
    side_px: float
    row: int
    column: int
    area_px2: NDArray[np.float64]

    def holds(self, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether each of (N, 2) points lies in the region, its outline included."""
        return np.asarray(shapely.intersects_xy(self.region, xy[:, 0], xy[:, 1]), np.bool_)

    def count(self, xy: NDArray[np.float64], kinds: NDArray[np.int64], n_kinds: int) -> NDArray[np.int64]:
        """(R, C, K) how many of the points lie in the region, by square and kind.

        Args:
            xy: (N, 2) level-0 px; those outside the region do not count.
            kinds: (N,) 0..K-1.
            n_kinds: K.
        """
        inside = self.holds(xy)
        shape = (*self.area_px2.shape, n_kinds)
        if not inside.any():
            return np.zeros(shape, np.int64)
        # A point on the region's outer edge may lie on a line of the grid beyond the last square.
        column, row = (
            np.clip(np.floor(xy[inside, axis] / self.side_px).astype(np.int64) - first, 0, most - 1)
            for axis, first, most in ((0, self.column, shape[1]), (1, self.row, shape[0]))
        )
        flat = np.ravel_multi_index((row, column, kinds[inside]), shape)
        return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.int64)

    def corners_px(self) -> NDArray[np.float64]:
        """(R, C, 2) x, y of the upper left corner of each square, level-0 px."""
        rows, columns = self.area_px2.shape
        x = (self.column + np.arange(columns)) * self.side_px
        y = (self.row + np.arange(rows)) * self.side_px
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)


def cut_into_squares(region: BaseGeometry, side_px: float) -> Squares:
    """Cut a region (polygons with holes) into squares.

    It is cut into columns first, so that a square only meets the part of the outline in its column.

    Raises:
        InputError: The squares are so small that there are more than `MAX_SQUARES`.
    """
    shapely.prepare(region)
    if region.is_empty:
        return Squares(region, side_px, 0, 0, np.zeros((0, 0)))
    left, top, right, bottom = region.bounds
    column, row = int(np.floor(left / side_px)), int(np.floor(top / side_px))
    columns, rows = (max(1, int(np.ceil(end / side_px)) - first) for end, first in ((right, column), (bottom, row)))
    if rows * columns > MAX_SQUARES:
        raise InputError(
            f"The region spans {columns:,} × {rows:,} squares of the grid, more than {MAX_SQUARES:,}. "
            "Pass a larger --grid-um."
        )
    if rows == columns == 1:
        return Squares(region, side_px, row, column, np.array([[region.area]]))
    x, y = (column + np.arange(columns + 1)) * side_px, (row + np.arange(rows + 1)) * side_px
    area = np.zeros((rows, columns))
    for i in range(columns):
        strip = region.intersection(shapely.box(x[i], top, x[i + 1], bottom))
        if not strip.is_empty:
            area[:, i] = shapely.area(shapely.intersection(strip, shapely.box(x[i], y[:-1], x[i + 1], y[1:])))
    return Squares(region, side_px, row, column, area)


def resampled_sums(table: NDArray[np.float64], *, replicates: int, seed: int) -> NDArray[np.float64]:
    """(R, C) sums of the columns of (n, C) over n rows drawn with replacement, R times.

    The same as weights of `bootstrap_weights` times the table, without holding R × n weights at a time.
    """
    n = len(table)
    draw = np.random.default_rng(seed)
    share = np.full(n, 1 / max(1, n))
    size = max(1, _AT_ONCE // max(1, n))
    sums = [
        draw.multinomial(n, share, min(size, replicates - start)).astype(np.float64) @ table
        for start in range(0, replicates, size)
    ]
    return np.concatenate(sums) if sums else np.zeros((0, table.shape[1]))
