"""Nuclei read back from star maps (compiled): polygons proposed by pixels, the surest first, unless taken already.

Every pixel that lies deep enough in a nucleus proposes a polygon, the ends of its rays. A polygon is kept unless it and
one kept before share too much of the smaller of the two (Schmidt et al. 2018, doi 10.1007/978-3-030-00934-2_30).

A pixel belongs to a polygon that holds its centre, and areas are numbers of pixels. To count the pixels that two
polygons share takes no more than the places where the edges of one cross the rows of the field: for each, how many
pixels of the other lie left of it, added at a right-hand edge and taken off at a left-hand one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.labels import clean_instances
from histocyte.representations.star.targets import ray_angles

__all__ = ["keep_best", "proposals", "separate_stars"]

_CELL = 32
"""Side of the cells, px, under which kept polygons are found again: a nucleus touches one to four."""
_LONGEST = 1e6
"""Rays are cut here, px: beyond any field, and columns still fit a number."""
_TOP, _LEFT, _BOTTOM, _RIGHT, _START, _AREA = range(6)
"""Columns of the table of kept polygons: box (the ends are outside), where its counts begin, pixels."""


def proposals(
    nucleus: NDArray[np.floating], rays: NDArray[np.floating], threshold: float, border_px: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The pixels that propose a nucleus, row by row.

    Args:
        nucleus: (H, W) distance probability; what is not a number proposes nothing.
        rays: (32, H, W) px.
        threshold: Pixels above it propose.
        border_px: Pixels nearer to the field's border do not.

    Returns:
        `pixels` (N,) flat indices, `scores` (N,) and `lengths` (N, 32) of the rays, px.
    """
    height, width = nucleus.shape
    likely = np.zeros((height, width), np.bool_)
    inner = (slice(border_px, max(0, height - border_px)), slice(border_px, max(0, width - border_px)))
    likely[inner] = nucleus[inner] > threshold
    pixels = np.flatnonzero(likely)
    lengths = np.empty((len(pixels), len(rays)), np.float32)
    for ray, values in enumerate(rays):
        lengths[:, ray] = values.reshape(-1)[pixels]
    return pixels, nucleus.reshape(-1)[pixels].astype(np.float32), lengths


@compiled
def _corners(
    lengths: NDArray[np.float32],
    sin: NDArray[np.float64],
    cos: NDArray[np.float64],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
) -> bool:
    """Write where the rays end, from the centre; whether all are numbers. Below 0 is 0."""
    for k in range(len(lengths)):
        if not np.isfinite(lengths[k]):
            return False
        length = min(max(lengths[k], 0.0), _LONGEST)
        y[k], x[k] = length * sin[k], length * cos[k]
    return True


@compiled
def _crossings(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    row: int,
    column: int,
    height: int,
    width: int,
    out: NDArray[np.int64],
) -> int:
    """Where a polygon's edges cross the rows of the field: row, first column not left of it, sign; their number.

    Corners are counted from the centre, so that a shift of the field changes no bit. Columns beyond the field are held
    at its border. Rows from an edge's upper end on, up to but without its lower one, so that of two edges that meet one
    counts. Rays go round clockwise on screen: edges that lead down are right-hand ones.
    """
    count, corners = 0, len(y)
    for k in range(corners):
        following = k + 1 if k + 1 < corners else 0
        y0, x0, y1, x1 = y[k], x[k], y[following], x[following]
        first = max(int(np.ceil(min(y0, y1))), -row)
        last = min(int(np.ceil(max(y0, y1))), height - row)
        if first < last:
            slope = (x1 - x0) / (y1 - y0)
            sign = 1 if y1 > y0 else -1
            for r in range(first, last):
                out[count, 0] = row + r
                out[count, 1] = min(max(column + int(np.ceil(x0 + (r - y0) * slope)), 0), width)
                out[count, 2] = sign
                count += 1
    return count


@compiled
def _measure(crossings: NDArray[np.int64], box: NDArray[np.int64]) -> None:
    """Box and area of the polygon of these crossings."""
    box[:] = 0
    if len(crossings) > 0:
        box[_TOP], box[_LEFT], box[_BOTTOM], box[_RIGHT] = crossings[0, 0], crossings[0, 1], 0, 0
    for i in range(len(crossings)):
        row, column = crossings[i, 0], crossings[i, 1]
        box[_TOP], box[_BOTTOM] = min(box[_TOP], row), max(box[_BOTTOM], row + 1)
        box[_LEFT], box[_RIGHT] = min(box[_LEFT], column), max(box[_RIGHT], column)
        box[_AREA] += column * crossings[i, 2]


@compiled
def _shared(
    crossings: NDArray[np.int64], box: NDArray[np.int64], other: NDArray[np.int64], left_of: NDArray[np.int32]
) -> int:
    """Pixels that the polygon of these crossings shares with a kept one; 0 where their boxes lie apart."""
    if (
        box[_TOP] >= other[_BOTTOM]
        or other[_TOP] >= box[_BOTTOM]
        or box[_LEFT] >= other[_RIGHT]
        or other[_LEFT] >= box[_RIGHT]
    ):
        return 0
    top, left, bottom = other[_TOP], other[_LEFT], other[_BOTTOM]
    across = other[_RIGHT] - left
    start, total = other[_START], 0
    for i in range(len(crossings)):
        row = crossings[i, 0]
        if top <= row < bottom:
            column = min(max(crossings[i, 1] - left, 0), across)
            total += crossings[i, 2] * left_of[start + (row - top) * (across + 1) + column]
    return total


@compiled
def _count_left(crossings: NDArray[np.int64], box: NDArray[np.int64], left_of: NDArray[np.int32]) -> None:
    """Write, from the box's start, row by row: the polygon's pixels left of each column of its box and of its end."""
    across = box[_RIGHT] - box[_LEFT] + 1
    counts = left_of[box[_START] : box[_START] + (box[_BOTTOM] - box[_TOP]) * across]
    counts[:] = 0
    for i in range(len(crossings)):
        counts[(crossings[i, 0] - box[_TOP]) * across + crossings[i, 1] - box[_LEFT]] -= crossings[i, 2]
    for row in range(box[_BOTTOM] - box[_TOP]):
        inside, before = 0, 0
        for i in range(row * across, (row + 1) * across):
            inside += counts[i]
            counts[i] = before
            before += inside


@compiled
def _free(box: NDArray[np.int64], left_of: NDArray[np.int32], owner: NDArray[np.int32]) -> int:
    """How many of the polygon's pixels nobody owns."""
    across, free = box[_RIGHT] - box[_LEFT], 0
    for row in range(box[_BOTTOM] - box[_TOP]):
        at = box[_START] + row * (across + 1)
        for column in range(across):
            inside = left_of[at + column + 1] > left_of[at + column]
            free += inside and owner[box[_TOP] + row, box[_LEFT] + column] == 0
    return free


@compiled
def _claim(box: NDArray[np.int64], left_of: NDArray[np.int32], owner: NDArray[np.int32], label: int) -> None:
    """Give the polygon's pixels that nobody owns to `label`."""
    across = box[_RIGHT] - box[_LEFT]
    for row in range(box[_BOTTOM] - box[_TOP]):
        at = box[_START] + row * (across + 1)
        for column in range(across):
            if left_of[at + column + 1] > left_of[at + column] and owner[box[_TOP] + row, box[_LEFT] + column] == 0:
                owner[box[_TOP] + row, box[_LEFT] + column] = label


@compiled
def _grown(table: NDArray[np.int64], needed: int) -> NDArray[np.int64]:
    """The table with room for `needed` rows, at least twice as many as before."""
    if needed <= len(table):
        return table
    larger = np.empty((max(needed, 2 * len(table)), table.shape[1]), np.int64)
    larger[: len(table)] = table
    return larger


@compiled
def _taken(
    crossings: NDArray[np.int64],
    box: NDArray[np.int64],
    favourite: int,
    kept: NDArray[np.int64],
    left_of: NDArray[np.int32],
    first: NDArray[np.int32],
    links: NDArray[np.int64],
    share: float,
) -> bool:
    """Whether a kept polygon shares more than `share` of the smaller of the two; `favourite` (or 0) is asked first."""
    if favourite > 0:
        other = kept[favourite]
        if _shared(crossings, box, other, left_of) > share * min(box[_AREA], other[_AREA]):
            return True
    for y in range(box[_TOP] // _CELL, (box[_BOTTOM] - 1) // _CELL + 1):
        for x in range(box[_LEFT] // _CELL, (box[_RIGHT] - 1) // _CELL + 1):
            link = first[y, x]
            while link > 0:
                other = kept[links[link, 0]]
                if _shared(crossings, box, other, left_of) > share * min(box[_AREA], other[_AREA]):
                    return True
                link = links[link, 1]
    return False


@compiled
def _keep_best(
    pixels: NDArray[np.int64],
    order: NDArray[np.int64],
    lengths: NDArray[np.float32],
    sin: NDArray[np.float64],
    cos: NDArray[np.float64],
    height: int,
    width: int,
    share: float,
    min_area: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    owner = np.zeros((height, width), np.int32)
    winners = np.zeros(len(pixels) + 1, np.int64)
    crossings = np.empty((len(sin) * height, 3), np.int64)
    box = np.zeros(6, np.int64)
    kept = np.zeros((256, 6), np.int64)
    left_of = np.zeros(1 << 16, np.int32)
    first = np.zeros((height // _CELL + 1, width // _CELL + 1), np.int32)
    links = np.zeros((1024, 2), np.int64)
    y, x = np.empty(len(sin)), np.empty(len(sin))
    count, used, linked = 0, 0, 0
    for i in order:
        if not _corners(lengths[i], sin, cos, y, x):
            continue
        row, column = divmod(pixels[i], width)
        found = crossings[: _crossings(y, x, row, column, height, width, crossings)]
        _measure(found, box)
        if box[_AREA] < max(1, min_area) or _taken(found, box, owner[row, column], kept, left_of, first, links, share):
            continue
        box[_START] = used
        end = used + (box[_BOTTOM] - box[_TOP]) * (box[_RIGHT] - box[_LEFT] + 1)
        if end > len(left_of):
            left_of = np.concatenate((left_of, np.zeros(max(len(left_of), end), np.int32)))
        _count_left(found, box, left_of)
        if _free(box, left_of, owner) < min_area:
            continue
        count, used = count + 1, end
        kept = _grown(kept, count + 1)
        kept[count] = box
        winners[count] = i
        _claim(box, left_of, owner, count)
        for down in range(box[_TOP] // _CELL, (box[_BOTTOM] - 1) // _CELL + 1):
            for across in range(box[_LEFT] // _CELL, (box[_RIGHT] - 1) // _CELL + 1):
                linked += 1
                links = _grown(links, linked + 1)
                links[linked, 0], links[linked, 1] = count, first[down, across]
                first[down, across] = linked
    return owner, winners[1 : count + 1]


def keep_best(
    pixels: NDArray[np.int64],
    scores: NDArray[np.float32],
    lengths: NDArray[np.float32],
    shape: tuple[int, ...],
    *,
    max_overlap: float,
    min_area_px: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Greedy non-maximum suppression of star polygons, and their picture.

    Args:
        pixels: (N,) flat index of each polygon's centre, ascending.
        scores: (N,) the surest goes first; of equals the first row by row.
        lengths: (N, 32) of its rays, px; a polygon with one that is not a number is none.
        shape: (H, W) of the field; what lies beyond it does not count.
        max_overlap: A polygon is left out if it shares more than this of the smaller of the two with one kept before.
        min_area_px: Also if fewer of its pixels are in none kept before.

    Returns:
        (H, W) int32, 0 or 1 + the number of the first kept polygon there is at a pixel, and the kept ones' indices.
    """
    angles = ray_angles()
    height, width = shape
    order = np.argsort(-scores, kind="stable")
    return _keep_best(pixels, order, lengths, np.sin(angles), np.cos(angles), height, width, max_overlap, min_area_px)


@compiled
def _first_owners(solid: NDArray[np.int32], owner: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Former id of each solid instance: its first pixel row by row is on its rim, so it was the instance's before."""
    former = np.zeros(count + 1, np.int64)
    for row in range(solid.shape[0]):
        for column in range(solid.shape[1]):
            label = solid[row, column]
            if label > 0 and former[label] == 0:
                former[label] = owner[row, column]
    return former[1:]


def separate_stars(
    nucleus: NDArray[np.floating],
    rays: NDArray[np.floating],
    *,
    nucleus_threshold: float,
    max_overlap: float,
    min_area_px: int,
    border_px: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Nuclei of one field.

    Args:
        nucleus: (H, W) distance probability, float32 or float16.
        rays: (32, H, W) lengths of the rays, px.
        nucleus_threshold: Pixels above it propose a nucleus.
        max_overlap: Largest share of the smaller of two nuclei that both may claim.
        min_area_px: Smaller polygons, and smaller rests of polygons, are none.
        border_px: Pixels nearer to the field's border propose nothing.

    Returns:
        (H, W) int32 labels 1..N, solid one-piece instances, the surest first, and (N,) how likely the pixel that
        proposed each was. What two claim is the surer one's.
    """
    pixels, scores, lengths = proposals(nucleus, rays, nucleus_threshold, border_px)
    owner, kept = keep_best(pixels, scores, lengths, nucleus.shape, max_overlap=max_overlap, min_area_px=min_area_px)
    labels = clean_instances(owner)
    return labels, scores[kept[_first_owners(labels, owner, int(labels.max(initial=0))) - 1]]
