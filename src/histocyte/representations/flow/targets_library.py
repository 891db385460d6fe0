"""Flows as the library cellseg_models.pytorch (0.1.25) writes them, which the lightweight model is built on (compiled).

Cellpose's heat (Stringer et al. 2021, doi 10.1038/s41592-020-01018-x, and `flow_targets`) with four differences: it
enters at the pixel nearest the median of rows and of columns; it spreads for as many steps as twice the way from one
end of the nucleus' box to the other, down and across; the flow is uphill in log(1 + heat); and that by half the
difference of the two neighbours, which a unit vector does not show. Of a nucleus in pieces only the one that holds the
centre is heated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.representations.flow.targets import EVEN, TINY, boxes_of, diffuse, write_uphill

__all__ = ["library_flow_map", "library_flow_map_plain"]


@compiled
def _twice_median(counts: NDArray[np.int64], area: int) -> int:
    """Twice the median of places, each weighted by its number of pixels."""
    lower, upper, passed = -1, -1, 0
    for place in range(len(counts)):
        passed += counts[place]
        if lower < 0 and passed > (area - 1) // 2:
            lower = place
        if upper < 0 and passed > area // 2:
            upper = place
    return lower + upper


@compiled
def _middle(inside: NDArray[np.bool_]) -> tuple[int, int]:
    """The pixel of a mask nearest its median row and column; of equals the first row by row."""
    rows, columns = np.zeros(inside.shape[0], np.int64), np.zeros(inside.shape[1], np.int64)
    area = 0
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if inside[row, column]:
                rows[row] += 1
                columns[column] += 1
                area += 1
    row_2, column_2 = _twice_median(rows, area), _twice_median(columns, area)
    best, found = 4 * inside.size**2, (0, 0)
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if inside[row, column]:
                distance = (2 * row - row_2) ** 2 + (2 * column - column_2) ** 2
                if distance < best:
                    best, found = distance, (row, column)
    return found


@compiled
def _library_flow_map(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    count = labels.max() if labels.size > 0 else 0
    boxes = boxes_of(labels, count)
    flow = np.zeros((2, labels.shape[0], labels.shape[1]), np.float32)
    source = np.empty((1, 2), np.int64)
    for label in range(1, count + 1):
        top, left, bottom, right = boxes[label]
        if bottom == 0:
            continue
        inside = np.zeros((bottom - top + 2, right - left + 2), np.bool_)
        for row in range(top, bottom):
            for column in range(left, right):
                inside[row - top + 1, column - left + 1] = labels[row, column] == label
        source[0] = _middle(inside)
        heat = np.log1p(diffuse(inside, source, 2 * (bottom - top - 1 + right - left - 1)))
        write_uphill(flow, heat, labels, label, boxes[label], (top, left))
    return flow


def library_flow_map(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """(2, H, W) unit vectors, dy then dx (down, then right), towards each nucleus' centre; 0 in background.

    A nucleus of one pixel has none, nor has a pixel that the heat does not reach.

    Args:
        labels: (H, W) int32, 0 background.
    """
    return np.asarray(_library_flow_map(np.ascontiguousarray(labels, np.int32)), np.float32)


def library_flow_map_plain(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """The same as `library_flow_map`, nucleus by nucleus in numpy and SciPy: what the compiled must agree with."""
    from scipy import ndimage

    flow = np.zeros((2, *labels.shape), np.float32)
    for label in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == label)
        off = (rows - np.median(rows)) ** 2 + (columns - np.median(columns)) ** 2
        centre = rows[off.argmin()] + 1, columns[off.argmin()] + 1
        inside = np.pad(labels == label, 1)
        heat = np.zeros(inside.shape)
        for _ in range(int(2 * (np.ptp(rows) + np.ptp(columns)))):
            heat[centre] += 1
            heat = ndimage.convolve(heat, np.full((3, 3), 1 / 9), mode="constant") * inside
        heat = np.log1p(heat)
        sides = [(np.roll(heat, -1, axis), np.roll(heat, 1, axis)) for axis in (0, 1)]
        slope = np.stack([np.where(np.isclose(a, b, rtol=EVEN, atol=0), 0, (a - b) / 2) for a, b in sides])
        slope = slope[:, 1:-1, 1:-1]
        length = np.hypot(*slope)
        shown = (labels == label) & (length > TINY)
        flow += np.divide(slope, length, out=np.zeros_like(slope), where=shown).astype(np.float32)
    return flow
