"""Label maps made tidy: one solid piece per instance, and what is measured on the pixels (compiled)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.instances import relabel_sequential

__all__ = [
    "clean_instances",
    "clean_instances_plain",
    "far_pieces",
    "fill_instances",
    "instance_statistics",
    "largest_pieces",
]

_PIECE_PX = 10
_PIECE_SHARE = 0.25
"""What is large enough to be another cell of the same id, see `far_pieces`."""


@compiled
def _root(parent: NDArray[np.int32], node: int) -> int:
    while parent[node] != node:
        node = parent[node]
    return node


@compiled
def _provisional_pieces(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Number runs of pixels of equal label and note which runs touch: (H, W) numbers, parent of each, how many.

    Numbers are given row by row, and a parent's is never above its child's.
    """
    height, width = labels.shape
    pieces = np.zeros((height, width), np.int32)
    parent = np.zeros(height * width // 8 + 16, np.int32)
    used = 0
    for row in range(height):
        here, before = labels[row], labels[max(0, row - 1)]
        now, then = pieces[row], pieces[max(0, row - 1)]
        piece = 0
        for column in range(width):
            label = here[column]
            if label <= 0:
                piece = 0
                continue
            if column > 0 and here[column - 1] != label:
                piece = 0
            above = then[column] if row > 0 and before[column] == label else 0
            if piece == 0 and above == 0:
                used += 1
                if used == len(parent):
                    parent = np.concatenate((parent, np.zeros(used, np.int32)))
                parent[used] = used
                piece = used
            elif piece == 0:
                piece = above
            elif above > 0 and above != piece:
                first, second = _root(parent, above), _root(parent, piece)
                parent[max(first, second)] = min(first, second)
            now[column] = piece
    return pieces, parent, used


@compiled
def _largest_pieces(labels: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    pieces, parent, used = _provisional_pieces(labels)
    area = np.zeros(used + 1, np.int64)
    owner = np.zeros(used + 1, np.int32)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            piece = pieces[row, column]
            if piece > 0:
                area[piece] += 1
                owner[piece] = labels[row, column]
    for piece in range(used, 0, -1):
        if parent[piece] != piece:
            area[parent[piece]] += area[piece]
    largest = np.zeros(count + 1, np.int32)
    for piece in range(1, used + 1):
        best = largest[owner[piece]]
        if parent[piece] == piece and (best == 0 or area[piece] > area[best]):
            largest[owner[piece]] = piece
    kept = np.zeros(used + 1, np.int32)
    for piece in range(1, used + 1):
        parent[piece] = parent[parent[piece]]
        if parent[piece] == largest[owner[piece]]:
            kept[piece] = owner[piece]
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            if pieces[row, column] > 0:
                pieces[row, column] = kept[pieces[row, column]]
    return pieces


def largest_pieces(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """(H, W) the map with nothing but the largest 4-connected piece of each id (of equals, the first row by row)."""
    labels = np.ascontiguousarray(labels, np.int32)
    return np.asarray(_largest_pieces(labels, int(labels.max(initial=0))), np.int32)


@compiled
def _piece_sums(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """(P, 4) id, pixels, sum of rows and sum of columns of every 4-connected piece."""
    pieces, parent, used = _provisional_pieces(labels)
    sums = np.zeros((used + 1, 4), np.int64)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            piece = pieces[row, column]
            if piece > 0:
                sums[piece, 0] = labels[row, column]
                sums[piece, 1] += 1
                sums[piece, 2] += row
                sums[piece, 3] += column
    whole = 0
    for piece in range(used, 0, -1):
        if parent[piece] != piece:
            for k in range(1, 4):
                sums[parent[piece], k] += sums[piece, k]
    for piece in range(1, used + 1):
        if parent[piece] == piece:
            sums[whole] = sums[piece]
            whole += 1
    return sums[:whole]


def far_pieces(labels: NDArray[np.int32], *, diameters: float = 3.0) -> NDArray[np.int64]:
    """How many more cells than one go by an id: pieces that can be no part of the id's largest.

    A nucleus that another crosses or an annotator cut lies in pieces side by side, perhaps with specks. Another cell is
    a piece of 10 px and a quarter of the largest's area or more, whose centre is further from the largest's than that
    many diameters of a disc of the largest's area.

    Args:
        labels: (H, W) int32, 0 background.
        diameters: How far apart.

    Returns:
        (highest id + 1,) int64.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    sums = _piece_sums(labels)
    sums = sums[np.lexsort((-sums[:, 1], sums[:, 0]))]  # each id's largest comes first
    owner, area, centre = sums[:, 0], sums[:, 1], sums[:, 2:] / np.maximum(1, sums[:, 1:2])
    largest = np.searchsorted(owner, owner)
    gap = np.hypot(*(centre - centre[largest]).T)
    far = gap > diameters * 2 * np.sqrt(area[largest] / np.pi)
    large = area >= np.maximum(_PIECE_PX, _PIECE_SHARE * area[largest])
    return np.bincount(owner[far & large], minlength=int(labels.max(initial=0)) + 1)


@compiled
def _boxes(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """(count + 1, 4) first row, first column, last row, last column of each id; last < first where it is absent."""
    height, width = labels.shape
    boxes = np.empty((count + 1, 4), np.int64)
    boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3] = height, width, -1, -1
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label > 0:
                box = boxes[label]
                box[0], box[1] = min(box[0], row), min(box[1], column)
                box[2], box[3] = max(box[2], row), max(box[3], column)
    return boxes


@compiled
def _fill(labels: NDArray[np.int32], label: int, box: NDArray[np.int64], stack: NDArray[np.int32]) -> None:
    """Give `label` every pixel of its box from which no 4-connected path leads out of the box around the instance."""
    top, left = box[0] - 1, box[1] - 1
    height, width = box[2] - top + 2, box[3] - left + 2
    outside = np.zeros((height, width), np.bool_)
    outside[0, 0] = True
    stack[0] = 0
    depth = 1
    while depth > 0:
        depth -= 1
        row, column = divmod(stack[depth], width)
        for step in range(4):
            r = row + (step == 0) - (step == 1)
            c = column + (step == 2) - (step == 3)
            if r < 0 or c < 0 or r >= height or c >= width or outside[r, c]:
                continue
            inner = 0 < r < height - 1 and 0 < c < width - 1
            if inner and labels[top + r, left + c] == label:
                continue
            outside[r, c] = True
            stack[depth] = r * width + c
            depth += 1
    for r in range(1, height - 1):
        for c in range(1, width - 1):
            if not outside[r, c]:
                labels[top + r, left + c] = label


@compiled
def _quads(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """(count + 1,) four times the Euler number of each id under 8-connectivity, from 2x2 neighbourhoods (Gray 1971)."""
    height, width = labels.shape
    quads = np.zeros(count + 1, np.int64)
    for row in range(-1, height):
        for column in range(-1, width):
            a = labels[row, column] if row >= 0 and column >= 0 else 0
            b = labels[row, column + 1] if row >= 0 and column + 1 < width else 0
            c = labels[row + 1, column] if row + 1 < height and column >= 0 else 0
            d = labels[row + 1, column + 1] if row + 1 < height and column + 1 < width else 0
            if a == b and b == c and c == d:
                continue
            for k in range(4):
                label = (a, b, c, d)[k]
                if label <= 0 or (k > 0 and label == a) or (k > 1 and label == b) or (k > 2 and label == c):
                    continue
                same = (a == label) + (b == label) + (c == label) + (d == label)
                if same == 1:
                    quads[label] += 1
                elif same == 3:
                    quads[label] -= 1
                elif (a == label and d == label) or (b == label and c == label):
                    quads[label] -= 2
    return quads


@compiled
def _fill_holes(labels: NDArray[np.int32], count: int) -> None:
    quads = _quads(labels, count)
    boxes = _boxes(labels, count)
    stack = np.empty((labels.shape[0] + 2) * (labels.shape[1] + 2), np.int32)
    for label in range(1, count + 1):
        if boxes[label, 2] >= 0 and quads[label] != 4:  # Euler's number of one piece is 1 less its holes
            _fill(labels, label, boxes[label], stack)


@compiled
def _renumber(labels: NDArray[np.int32], count: int) -> None:
    table = np.zeros(count + 1, np.int32)
    flat = labels.ravel()
    for i in range(len(flat)):
        if flat[i] > 0:
            table[flat[i]] = 1
    used = 0
    for label in range(1, count + 1):
        used += table[label]
        table[label] = used
    for i in range(len(flat)):
        if flat[i] > 0:
            flat[i] = table[flat[i]]


def clean_instances(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Make every instance one solid piece and number them 1..N in the order of the old ids.

    Of each id the largest 4-connected piece stays, the rest becomes background. What a piece encloses becomes part
    of it, other instances too, also where the enclosing ring closes only corner to corner; so its outline is one
    simple ring whose area is its number of pixels.

    Args:
        labels: (H, W) int32, 0 background; ids need not be contiguous.

    Returns:
        (H, W) int32, a new map.
    """
    return fill_instances(largest_pieces(labels))


def fill_instances(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """`clean_instances` for a map whose instances are known to be one 4-connected piece each, as a watershed's are."""
    solid = np.array(labels, np.int32, order="C")
    count = int(solid.max(initial=0))
    _fill_holes(solid, count)
    _renumber(solid, count)
    return solid


def clean_instances_plain(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same as `clean_instances`, instance by instance on the whole map, to check it against."""
    from scipy import ndimage

    pieces = np.zeros_like(labels)
    for label in np.unique(labels[labels > 0]):
        piece, _ = ndimage.label(labels == label)
        areas = np.bincount(piece.ravel())[1:]
        pieces[piece == areas.argmax() + 1] = label
    for label in np.unique(pieces[pieces > 0]):
        if (pieces == label).any():
            # The default structure spreads the outside along rows and columns only.
            pieces[ndimage.binary_fill_holes(np.pad(pieces == label, 1))[1:-1, 1:-1]] = label
    return relabel_sequential(pieces)[0]


@compiled
def _sums(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    sums = np.zeros((count + 1, 3), np.int64)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            label = labels[row, column]
            if label > 0:
                sums[label, 0] += 1
                sums[label, 1] += column
                sums[label, 2] += row
    return sums


def instance_statistics(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Size and place of every instance.

    Args:
        labels: (H, W) int32, 0 background, ids 1..N.

    Returns:
        `area_px` (N,), pixels of each id, and `centroid_xy` (N, 2), mean x, y of their pixels where pixel (row r,
        column c) stands at (c + 0.5, r + 0.5); NaN for an id without pixels.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    sums = _sums(labels, int(labels.max(initial=0)))[1:]
    area = sums[:, 0]
    centroid = np.full((len(area), 2), np.nan)
    np.divide(sums[:, 1:], area[:, None], out=centroid, where=area[:, None] > 0)
    return area, centroid + 0.5
