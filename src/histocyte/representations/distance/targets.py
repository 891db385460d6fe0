"""CISCA's maps written from a label map (compiled): where cells touch, and how far across its cell each pixel lies.

Vadori et al., CISCA and CytoDArk0 (arXiv 2409.04175).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = [
    "BACKGROUND",
    "BODY",
    "CONTOUR",
    "distance_map",
    "distance_map_plain",
    "one_hot",
    "semantic_map",
    "semantic_map_plain",
    "touching",
]

CONTOUR, BODY, BACKGROUND = 0, 1, 2
"""Channels of the semantic map, in the published order."""


@compiled
def _place(row: int, column: int, direction: int) -> int:
    """How far along a direction a pixel lies: to the right, down, down and right, up and right."""
    if direction == 0:
        return column
    if direction == 1:
        return row
    return row + column if direction == 2 else column - row


@compiled
def _distance_map(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    height, width = labels.shape
    count = labels.max() + 1
    low = np.full((count, 4), height + width, np.int64)
    high = np.full((count, 4), -height - width, np.int64)
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label > 0:
                for direction in range(4):
                    place = _place(row, column, direction)
                    low[label, direction] = min(low[label, direction], place)
                    high[label, direction] = max(high[label, direction], place)
    maps = np.zeros((4, height, width), np.float32)
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label <= 0 or high[label, 0] == low[label, 0] or high[label, 1] == low[label, 1]:
                continue
            for direction in range(4):
                least = low[label, direction]
                if high[label, direction] == least:  # a cell along one diagonal has no extent on the other
                    continue
                share = (_place(row, column, direction) - least) / (high[label, direction] - least)
                maps[direction, row, column] = 2 * share - 1
    return maps


def distance_map(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """(4, H, W) how far across its cell each pixel lies, -1 at one end to 1 at the other; 0 in background.

    To the right, down, along the diagonal from the top left and along that from the bottom left; each is linear over
    the cell's full range ("fullrange", as the published models have it). A cell a pixel wide or high stays 0, and so
    does one that lies along a diagonal in the direction across it.

    Args:
        labels: (H, W) int32, 0 background.
    """
    return _distance_map(np.ascontiguousarray(labels, np.int32))


def distance_map_plain(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """The same as `distance_map`, cell by cell in plain numpy: what the compiled version must agree with."""
    maps = np.zeros((4, *labels.shape), np.float32)
    for label in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == label)
        if np.ptp(rows) == 0 or np.ptp(columns) == 0:
            continue
        for direction, place in enumerate((columns, rows, rows + columns, columns - rows)):
            if np.ptp(place) > 0:
                maps[direction, rows, columns] = 2 * (place - place.min()) / np.ptp(place) - 1
    return maps


def _disc(radius_px: float) -> NDArray[np.int64]:
    """(n, 2) row and column offsets within the radius."""
    reach = int(radius_px)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # The slack lets the square root of 2, rounded, reach the diagonal neighbour.
    return np.argwhere(rows**2 + columns**2 <= radius_px**2 + 1e-9) - reach


@compiled
def touching(labels: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(H, W) contour (another cell lies at one of the offsets from a pixel of a cell), body or background."""
    height, width = labels.shape
    semantic = np.full((height, width), 2, np.uint8)
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label <= 0:
                continue
            semantic[row, column] = 1
            for k in range(len(offsets)):
                r, c = row + offsets[k, 0], column + offsets[k, 1]
                if 0 <= r < height and 0 <= c < width and labels[r, c] > 0 and labels[r, c] != label:
                    semantic[row, column] = 0
                    break
    return semantic


def semantic_map(labels: NDArray[np.int32], contour_px: float) -> NDArray[np.float32]:
    """(3, H, W) one-hot: contour between touching cells, body of a cell, background.

    A pixel of a cell is contour where another cell lies within `contour_px` of it. That is the published rule without
    its repairs of small parts and of thin remains, which `distance_contour.full_semantic_map` has.

    Args:
        labels: (H, W) int32, 0 background.
        contour_px: Half the width of a contour, px.
    """
    return one_hot(touching(np.ascontiguousarray(labels, np.int32), _disc(contour_px)))


def one_hot(semantic: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) contour, body or background → (3, H, W)."""
    return np.equal(semantic, np.arange(3, dtype=np.uint8)[:, None, None]).astype(np.float32)


def semantic_map_plain(labels: NDArray[np.int32], contour_px: float) -> NDArray[np.float32]:
    """The same as `semantic_map`, from each cell's dilated mask: what the compiled version must agree with."""
    from scipy import ndimage

    reach = int(contour_px)
    disc = np.zeros((2 * reach + 1, 2 * reach + 1), bool)
    disc[tuple((_disc(contour_px) + reach).T)] = True
    covering = np.zeros(labels.shape, np.int64)
    for label in np.unique(labels[labels > 0]):
        covering += ndimage.binary_dilation(labels == label, disc)
    contour = (labels > 0) & (covering > 1)
    return np.stack([contour, (labels > 0) & ~contour, labels <= 0]).astype(np.float32)
