"""Polygons along the edges of pixels, as QuPath and histocyte write them: a pixel is inside if its centre is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.errors import InputError
from histocyte.formats.foreign.contents import MAX_COORDINATE, Drawn, empty_map, lost_cells

__all__ = ["Polygons", "fill_polygons", "fill_polygons_plain"]


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """Cells by one or more rings each; what lies in an odd number of a cell's rings is inside (holes, pieces).

    Attributes:
        points: (M, 2) float64 x, y of all rings one after the other; pixel (row r, column c) covers [c, c + 1] ×
            [r, r + 1]. A ring's last point may repeat its first.
        rings: (R + 1,) ring r owns points[rings[r]:rings[r + 1]], at least one.
        cells: (N + 1,) cell i owns rings cells[i]..cells[i + 1], at least one.
    """

    points: NDArray[np.float64]
    rings: NDArray[np.int64]
    cells: NDArray[np.int64]

    @property
    def size(self) -> None:
        """Not known."""
        return None

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.cells) - 1

    def check(self, path: Path) -> Polygons:
        """Itself, if all coordinates are numbers that a slide can have.

        Raises:
            InputError: One is not; the message says which.
        """
        wrong = ~(np.abs(self.points) <= MAX_COORDINATE).all(axis=1)  # also catches NaN
        if wrong.any():
            cell = int(np.searchsorted(self.rings[self.cells], int(wrong.argmax()), side="right")) - 1
            raise InputError(
                f"'{path}': the outline of cell {cell + 1:,} of {len(self):,} leaves ±{MAX_COORDINATE:g} px. "
                "Export the file again."
            )
        return self

    def draw(self, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> Drawn:
        """See `Shapes.draw`.

        Raises:
            InputError: The window is too large.
        """
        labels = empty_map(shape)
        if not len(self):
            return Drawn(labels, np.empty(0, np.int64), np.empty(0, np.int64))
        starts = self.rings[self.cells[:-1]]
        bounds = np.hstack([np.minimum.reduceat(self.points, starts), np.maximum.reduceat(self.points, starts)])
        areas = _areas(self.points, self.rings, self.cells)
        order = np.lexsort((-np.arange(len(areas)), -areas))
        own = fill_polygons(self.points, self.rings, self.cells, order, labels, origin)
        hidden, outside = lost_cells(labels, bounds, origin)
        within = ((bounds[hidden, :2] >= origin) & (bounds[hidden, 2:] - origin <= shape[::-1])).all(axis=1)
        here = within | (own[hidden] > 0)
        return Drawn(labels, hidden[here], np.sort(np.concatenate([outside, hidden[~here]])))


@compiled
def _areas(points: NDArray[np.float64], rings: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) area of each cell, px²; rings of one cell that turn the other way than its first are holes."""
    areas = np.zeros(len(cells) - 1)
    for cell in range(len(areas)):
        for ring in range(cells[cell], cells[cell + 1]):
            first, last = rings[ring], rings[ring + 1]
            # Relative to the ring's own start: equal shapes have equal areas wherever they lie.
            for p in range(first + 1, last - 1):
                ax, ay = points[p, 0] - points[first, 0], points[p, 1] - points[first, 1]
                bx, by = points[p + 1, 0] - points[first, 0], points[p + 1, 1] - points[first, 1]
                areas[cell] += (ax * by - ay * bx) / 2
    return np.abs(areas)


@compiled
def _fill(
    points: NDArray[np.float64],
    rings: NDArray[np.int64],
    cells: NDArray[np.int64],
    order: NDArray[np.int64],
    labels: NDArray[np.int32],
    left: float,
    top: float,
) -> NDArray[np.int64]:
    height, width = labels.shape
    own = np.zeros(len(cells) - 1, np.int64)
    crossings = np.empty(64)
    for cell in order:
        low, high = np.inf, -np.inf
        for p in range(rings[cells[cell]], rings[cells[cell + 1]]):
            low, high = min(low, points[p, 1]), max(high, points[p, 1])
        first_row = max(0, int(np.ceil(low - top - 0.5)))
        last_row = min(height, int(np.ceil(high - top - 0.5)))
        for row in range(first_row, last_row):
            y = row + top + 0.5
            count = 0
            for ring in range(cells[cell], cells[cell + 1]):
                before = rings[ring + 1] - 1
                for p in range(rings[ring], rings[ring + 1]):
                    y0, y1 = points[before, 1], points[p, 1]
                    # Half open, so that a corner on the line of centres counts once.
                    if (y0 <= y) != (y1 <= y):
                        if count == len(crossings):
                            crossings = np.concatenate((crossings, np.empty(count)))
                        x0, x1 = points[before, 0], points[p, 0]
                        crossings[count] = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
                        count += 1
                    before = p
            crossings[:count].sort()
            for i in range(0, count - 1, 2):
                first = max(0, int(np.ceil(crossings[i] - left - 0.5)))
                last = min(width, int(np.ceil(crossings[i + 1] - left - 0.5)))
                for column in range(first, last):
                    labels[row, column] = cell + 1
                own[cell] += max(0, last - first)
    return own


def fill_polygons(
    points: NDArray[np.float64],
    rings: NDArray[np.int64],
    cells: NDArray[np.int64],
    order: NDArray[np.int64],
    labels: NDArray[np.int32],
    origin: tuple[int, int],
) -> NDArray[np.int64]:
    """Draw cells one over the other, by scan lines through the pixel centres.

    Args:
        points: See `Polygons`.
        rings: See `Polygons`.
        cells: See `Polygons`.
        order: (N,) the cells, the last on top.
        labels: (H, W) changed in place; cell i is i + 1.
        origin: x, y of its first pixel.

    Returns:
        (N,) pixels of each cell in the window, before others were drawn over it.
    """
    return np.asarray(_fill(points, rings, cells, order, labels, float(origin[0]), float(origin[1])))


def fill_polygons_plain(
    points: NDArray[np.float64],
    rings: NDArray[np.int64],
    cells: NDArray[np.int64],
    order: NDArray[np.int64],
    labels: NDArray[np.int32],
    origin: tuple[int, int],
) -> NDArray[np.int64]:
    """The same as `fill_polygons`, asking every pixel centre about every edge, to check it against."""
    x = np.arange(labels.shape[1]) + origin[0] + 0.5
    y = (np.arange(labels.shape[0]) + origin[1] + 0.5)[:, None]
    own = np.zeros(len(cells) - 1, np.int64)
    for cell in order:
        inside = np.zeros(labels.shape, np.bool_)
        for ring in range(cells[cell], cells[cell + 1]):
            corners = points[rings[ring] : rings[ring + 1]]
            for (x0, y0), (x1, y1) in zip(np.roll(corners, 1, axis=0), corners, strict=True):
                if y0 != y1:
                    inside ^= ((y0 <= y) != (y1 <= y)) & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x)
        labels[inside] = cell + 1
        own[cell] = inside.sum()
    return own
