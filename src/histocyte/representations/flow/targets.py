"""Cellpose's flows written from a label map: the direction in which heat from a nucleus' centre comes (compiled).

Stringer et al. 2021, Cellpose (doi 10.1038/s41592-020-01018-x), in its version 4: heat enters at the centre pixel and
spreads as the mean over 3 × 3 px, lost where it leaves the nucleus; the flow is the unit vector uphill.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = ["EVEN", "TINY", "boxes_of", "diffuse", "flow_errors", "flow_map", "flow_map_plain", "write_uphill"]

TINY = 1e-290
"""Heat below this has no direction worth the name; above it, ratios of two differences are exact."""

EVEN = 1e-12
"""Two neighbours whose heat differs by less than this share of it are even: it is the rounding of the sums."""


@compiled
def boxes_of(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """(count + 1, 4) top, left, bottom, right (the latter two exclusive) of each id; bottom 0 where it is absent."""
    boxes = np.zeros((count + 1, 4), np.int64)
    boxes[:, 0], boxes[:, 1] = labels.shape
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            label = labels[row, column]
            if label > 0:
                box = boxes[label]
                box[0], box[1] = min(box[0], row), min(box[1], column)
                box[2], box[3] = max(box[2], row + 1), max(box[3], column + 1)
    return boxes


@compiled
def _pieces(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """8-connected pieces of a mask whose outermost pixels are all False, numbered from 1."""
    height, width = inside.shape
    pieces = np.zeros((height, width), np.int32)
    stack = np.empty((height * width, 2), np.int32)
    count = 0
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            if not inside[row, column] or pieces[row, column] != 0:
                continue
            count += 1
            pieces[row, column] = count
            stack[0, 0], stack[0, 1] = row, column
            depth = 1
            while depth > 0:
                depth -= 1
                r0, c0 = stack[depth]
                for r in range(r0 - 1, r0 + 2):
                    for c in range(c0 - 1, c0 + 2):
                        if inside[r, c] and pieces[r, c] == 0:
                            pieces[r, c] = count
                            stack[depth, 0], stack[depth, 1] = r, c
                            depth += 1
    return pieces, count


@compiled
def _centre(pieces: NDArray[np.int32], piece: int) -> tuple[int, int]:
    """The pixel of a piece nearest its rounded centre of mass; of equals the first row by row."""
    area, sum_row, sum_column = 0, 0, 0
    for row in range(pieces.shape[0]):
        for column in range(pieces.shape[1]):
            if pieces[row, column] == piece:
                area += 1
                sum_row += row - 1
                sum_column += column - 1
    # Halves go to the even number, counted from the box around the nucleus: so it does not matter where it lies.
    row_0, column_0 = int(np.rint(sum_row / area)) + 1, int(np.rint(sum_column / area)) + 1
    best, found = pieces.size**2, (row_0, column_0)
    for row in range(pieces.shape[0]):
        for column in range(pieces.shape[1]):
            if pieces[row, column] == piece:
                distance = (row - row_0) ** 2 + (column - column_0) ** 2
                if distance < best:
                    best, found = distance, (row, column)
    return found


@compiled
def diffuse(inside: NDArray[np.bool_], sources: NDArray[np.int64], steps: int) -> NDArray[np.float64]:
    """Heat after so many steps, each of which adds 1 at every source and then spreads; the mask has an empty rim."""
    height, width = inside.shape
    heat, across = np.zeros((height, width)), np.zeros((height, width))
    share = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            share[row, column] = 1.0 / 9.0 if inside[row, column] else 0.0
    for _ in range(steps):
        for source in range(len(sources)):
            heat[sources[source, 0], sources[source, 1]] += 1.0
        for row in range(1, height - 1):
            given, got = heat[row], across[row, 1:]
            for column in range(width - 2):
                got[column] = given[column] + given[column + 1] + given[column + 2]
        for row in range(1, height - 1):
            above, here, below = across[row - 1], across[row], across[row + 1]
            part, got = share[row], heat[row]
            for column in range(width):
                got[column] = (above[column] + here[column] + below[column]) * part[column]
    return heat


@compiled
def _heat(labels: NDArray[np.int32], box: NDArray[np.int64], label: int, steps: int) -> NDArray[np.float64]:
    """Heat of one nucleus in its box, one px wider on every side; with `steps` 0 for as long as its own size asks.

    With steps of its own, each of its pieces has a centre; else the one nearest the centre of all has.
    """
    top, left, bottom, right = box
    inside = np.zeros((bottom - top + 2, right - left + 2), np.bool_)
    for row in range(top, bottom):
        for column in range(left, right):
            inside[row - top + 1, column - left + 1] = labels[row, column] == label
    if steps > 0:
        source = np.empty((1, 2), np.int64)
        source[0] = _centre(inside.astype(np.int32), 1)
        return diffuse(inside, source, steps)
    pieces, count = _pieces(inside)
    sources = np.empty((count, 2), np.int64)
    for piece in range(count):
        sources[piece] = _centre(pieces, piece + 1)
    return diffuse(inside, sources, 2 * (bottom - top + right - left + 2))


@compiled
def _difference(further: float, nearer: float) -> float:
    """Difference of two neighbours' heat, exactly 0 where rounding alone parts them."""
    difference = further - nearer
    return 0.0 if abs(difference) <= EVEN * max(further, nearer) else difference


@compiled
def _uphill(heat: NDArray[np.float64], row: int, column: int) -> tuple[float, float]:
    """Unit vector (dy, dx) of the central differences, 0 where there are none."""
    down = _difference(heat[row + 1, column], heat[row - 1, column])
    across = _difference(heat[row, column + 1], heat[row, column - 1])
    largest = max(abs(down), abs(across))
    if largest <= TINY:
        return 0.0, 0.0
    down, across = down / largest, across / largest  # or the squares of faint heat would vanish
    length = np.sqrt(down * down + across * across)
    return down / length, across / length


@compiled
def write_uphill(
    flow: NDArray[np.float32],
    heat: NDArray[np.float64],
    labels: NDArray[np.int32],
    label: int,
    box: NDArray[np.int64],
    corner: tuple[int, int],
) -> None:
    """Write one nucleus' unit vectors; `corner` is the field's row and column of the heat's pixel (1, 1)."""
    for row in range(box[0], box[2]):
        for column in range(box[1], box[3]):
            if labels[row, column] == label:
                down, across = _uphill(heat, row - corner[0] + 1, column - corner[1] + 1)
                flow[0, row, column], flow[1, row, column] = down, across


@compiled
def _flow_map(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    count = labels.max() if labels.size > 0 else 0
    boxes = boxes_of(labels, count)
    flow = np.zeros((2, labels.shape[0], labels.shape[1]), np.float32)
    for label in range(1, count + 1):
        box = boxes[label]
        if box[2] > 0:
            write_uphill(flow, _heat(labels, box, label, 0), labels, label, box, (box[0], box[1]))
    return flow


@compiled
def _flow_map_as_published(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    count = labels.max() if labels.size > 0 else 0
    boxes = boxes_of(labels, count)
    longest = 0
    for label in range(1, count + 1):
        box = boxes[label]
        if box[2] > 0:
            longest = max(longest, 2 * (box[2] - box[0] + box[3] - box[1] + 2))
    field = np.zeros((labels.shape[0] + 2, labels.shape[1] + 2))
    for label in range(1, count + 1):
        top, left, bottom, right = boxes[label]
        if bottom > 0:  # heat is 0 outside its nucleus, so adding leaves the others' alone
            field[top : bottom + 2, left : right + 2] += _heat(labels, boxes[label], label, longest)
    flow = np.zeros((2, labels.shape[0], labels.shape[1]), np.float32)
    for label in range(1, count + 1):
        if boxes[label, 2] > 0:
            write_uphill(flow, field, labels, label, boxes[label], (0, 0))
    return flow


def flow_map(labels: NDArray[np.int32], *, compat: bool = False) -> NDArray[np.float32]:
    """(2, H, W) unit vectors, dy then dx (down, then right, as Cellpose has them), towards each nucleus' centre.

    Background is 0, and so is a pixel that heat reaches evenly from both sides. Every nucleus is heated for
    2 (height + width + 2) steps of its own bounding box and reads its own heat alone, and every piece of one in several
    pieces, as a crop may cut it, has a centre: so a nucleus' flows do not depend on what else is in the field.

    Args:
        labels: (H, W) int32, 0 background.
        compat: As Cellpose has it: all are heated for as long as the field's largest; where two touch, the heat of
            either enters the other's flow, which there may point into the neighbour; and of a nucleus in pieces only
            the one with the centre is heated.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    return np.asarray(_flow_map_as_published(labels) if compat else _flow_map(labels), np.float32)


def _heat_plain(inside: NDArray[np.bool_], steps: int, *, compat: bool) -> NDArray[np.float64]:
    from scipy import ndimage

    pieces, count = (inside, 1) if compat else ndimage.label(inside, np.ones((3, 3)))
    sources = []
    for piece in range(1, count + 1):
        places = np.argwhere(pieces == piece)
        centre = np.rint((places - 1).mean(axis=0)) + 1
        sources.append(tuple(places[((places - centre) ** 2).sum(axis=1).argmin()]))
    heat = np.zeros(inside.shape)
    for _ in range(steps):
        for source in sources:
            heat[source] += 1
        heat = ndimage.convolve(heat, np.full((3, 3), 1 / 9), mode="constant") * inside
    return heat


def flow_map_plain(labels: NDArray[np.int32], *, compat: bool = False) -> NDArray[np.float32]:
    """The same as `flow_map`, nucleus by nucleus in numpy and SciPy: what the compiled version must agree with."""
    from scipy import ndimage

    boxes = {i: box for i, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None}
    steps = {i: 2 * (sum(side.stop - side.start for side in box) + 2) for i, box in boxes.items()}
    heats = {}
    for i, box in boxes.items():
        heats[i] = np.zeros(np.add(labels.shape, 2))
        part = tuple(slice(side.start, side.stop + 2) for side in box)
        inside = np.pad(labels[box] == i, 1)
        heats[i][part] = _heat_plain(inside, max(steps.values()) if compat else steps[i], compat=compat)
    flow = np.zeros((2, *labels.shape), np.float32)
    for i in boxes:
        heat = sum(heats.values()) if compat else heats[i]
        sides = [(np.roll(heat, -1, axis), np.roll(heat, 1, axis)) for axis in (0, 1)]
        gradient = np.stack([np.where(np.isclose(a, b, rtol=EVEN, atol=0), 0, a - b) for a, b in sides])[:, 1:-1, 1:-1]
        length = np.hypot(*gradient)
        shown = (labels == i) & (length > TINY)
        flow += np.divide(gradient, length, out=np.zeros_like(gradient), where=shown).astype(np.float32)
    return flow


@compiled
def _errors(labels: NDArray[np.int32], flow: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.float64]:
    count = labels.max() if labels.size > 0 else 0
    total, area = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            label = labels[row, column]
            if label > 0:
                down = own[0, row, column] - flow[0, row, column]
                across = own[1, row, column] - flow[1, row, column]
                total[label] += down * down + across * across
                area[label] += 1
    return total / np.maximum(area, 1)


def flow_errors(labels: NDArray[np.int32], flow: NDArray[np.float32], *, compat: bool = False) -> NDArray[np.float64]:
    """(N + 1,) how far each instance's flows lie from those its shape would have; entry 0 is background's, 0.

    The mean over an instance's pixels of the squared difference of the two vectors: 0 agreement, 1 no flow at all, 2
    unrelated directions, 4 opposite ones (Cellpose's quality control).

    Args:
        labels: (H, W) int32, ids 1..N.
        flow: (2, H, W) predicted flows, dy then dx, in units of one.
        compat: See `flow_map`.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    return np.asarray(_errors(labels, flow, flow_map(labels, compat=compat)), np.float64)
