"""HoVer-Net's horizontal and vertical distance maps, written from a label map (compiled)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = ["hover_map", "hover_map_plain"]


@compiled
def _hover_map(labels: NDArray[np.int32], one_based: bool) -> NDArray[np.float32]:
    height, width = labels.shape
    count = labels.max() + 1
    pixels = np.zeros(count, np.int64)
    sums = np.zeros((count, 2), np.float64)
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label > 0:
                pixels[label] += 1
                sums[label, 0] += column
                sums[label, 1] += row
    centres = np.zeros((count, 2), np.float64)
    for label in range(1, count):
        if pixels[label] > 0:
            for axis in range(2):
                centre = sums[label, axis] / pixels[label]
                centres[label, axis] = np.floor(centre + 0.5) - 1.0 if one_based else centre
    low = np.zeros((count, 2), np.float64)
    high = np.zeros((count, 2), np.float64)
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label > 0:
                dx, dy = column - centres[label, 0], row - centres[label, 1]
                low[label, 0], high[label, 0] = min(low[label, 0], dx), max(high[label, 0], dx)
                low[label, 1], high[label, 1] = min(low[label, 1], dy), max(high[label, 1], dy)
    maps = np.zeros((2, height, width), np.float32)
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label > 0:
                for axis in range(2):
                    distance = (column if axis == 0 else row) - centres[label, axis]
                    if distance < 0:
                        maps[axis, row, column] = distance / -low[label, axis]
                    elif distance > 0:
                        maps[axis, row, column] = distance / high[label, axis]
    return maps


def hover_map(labels: NDArray[np.int32], *, one_based: bool = False) -> NDArray[np.float32]:
    """(2, H, W) distance of each nuclear pixel to its nucleus' centre of mass: x, then y, each in [-1, 1].

    Negative and positive distances are scaled apart, by the largest of their kind in the nucleus; background is 0
    (Graham et al. 2019, HoVer-Net §3.1).

    Args:
        labels: (H, W) int32, 0 background.
        one_based: As the published code has it: the centre is rounded and coordinates start at 1, so the zero lies
            a pixel left of and above the rounded centre.
    """
    return _hover_map(np.ascontiguousarray(labels, np.int32), one_based)


def hover_map_plain(labels: NDArray[np.int32], *, one_based: bool = False) -> NDArray[np.float32]:
    """The same as `hover_map`, nucleus by nucleus in plain numpy: what the compiled version must agree with."""
    maps = np.zeros((2, *labels.shape), np.float32)
    for label in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == label)
        for axis, where in enumerate((columns, rows)):
            centre = np.floor(where.mean() + 0.5) - 1 if one_based else where.mean()
            distance = where - centre
            below, above = distance < 0, distance > 0
            if below.any():
                distance[below] /= -distance[below].min()
            if above.any():
                distance[above] /= distance[above].max()
            maps[axis, rows, columns] = distance
    return maps
