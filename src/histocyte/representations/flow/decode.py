"""Nuclei read back from flows (compiled): pixels walk along them, and those that end together are one nucleus.

Stringer et al. 2021, Cellpose (doi 10.1038/s41592-020-01018-x). `separate` is local: where a pixel walks is decided by
the maps under its way alone, to the bit, wherever the field is cut; sizes are absolute. `separate_as_published` follows
Cellpose 4 step by step, including that it reads flows up to half a pixel beside where it means to, by place in the
field, and that the largest nucleus allowed is a share of the field.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.labels import clean_instances
from histocyte.representations.flow.targets import flow_errors

__all__ = ["separate", "separate_as_published"]

_BITS = 12
_UNIT = 1 << _BITS
"""Places told apart within a px. Whole numbers, because a float's steps depend on how far the field's corner is."""
_WINDOW = 4
"""Steps over which a pixel's place is averaged at its end: at the centre it may jump to and fro for ever."""
_REST = _UNIT // 16
"""A pixel that got no further than this in a window has arrived."""
_REACH = 5
"""How far from its seed, in px, a nucleus' walkers may have ended, as published."""
_CROWDED = 2
"""Places with more walkers than this join a seed, as published."""


@compiled
def _prepared(
    flow: NDArray[np.float32], inside: NDArray[np.bool_], scale: float, longest: float
) -> NDArray[np.float32]:
    """(H + 1, W + 1, 2) steps in px: 0 outside the foreground, beyond the field and where not a number."""
    height, width = inside.shape
    steps = np.zeros((height + 1, width + 1, 2), np.float32)
    for row in range(height):
        for column in range(width):
            if inside[row, column]:
                down, across = flow[0, row, column] * scale, flow[1, row, column] * scale
                length = np.sqrt(down * down + across * across)
                if np.isfinite(length):
                    if length > longest:
                        down, across = down / length * longest, across / length * longest
                    steps[row, column, 0], steps[row, column, 1] = down, across
    return steps


@compiled
def _walk(steps: NDArray[np.float32], row: int, column: int, count: int) -> tuple[int, int]:
    """Nearest pixel (row, column) to where a walker from a pixel comes to rest."""
    bottom, right = (steps.shape[0] - 2) * _UNIT, (steps.shape[1] - 2) * _UNIT
    stride = 2 * steps.shape[1]
    flat = steps.reshape(-1)
    y, x = row * _UNIT, column * _UNIT
    y_sum, x_sum, y_before, x_before, done = 0, 0, y, x, 0
    while done < count:
        y_sum, x_sum = 0, 0
        for _ in range(_WINDOW):
            v = np.float32(y & (_UNIT - 1)) * np.float32(1 / _UNIT)
            u = np.float32(x & (_UNIT - 1)) * np.float32(1 / _UNIT)
            # Unsigned: numba then asks no more whether an index counts from the end.
            i = np.uint64((y >> _BITS) * stride + 2 * (x >> _BITS))
            j = i + np.uint64(stride)
            right_i, right_j, one = i + np.uint64(2), j + np.uint64(2), np.uint64(1)
            a, b = (np.float32(1) - v) * (np.float32(1) - u), (np.float32(1) - v) * u
            c, d = v * (np.float32(1) - u), v * u
            down = a * flat[i] + b * flat[right_i] + c * flat[j] + d * flat[right_j]
            across = a * flat[i + one] + b * flat[right_i + one] + c * flat[j + one] + d * flat[right_j + one]
            y = min(max(y + int(np.rint(down * np.float32(_UNIT))), 0), bottom)
            x = min(max(x + int(np.rint(across * np.float32(_UNIT))), 0), right)
            y_sum += y
            x_sum += x
        done += _WINDOW
        if abs(y - y_before) + abs(x - x_before) <= _REST:
            break
        y_before, x_before = y, x
    half = _UNIT * _WINDOW // 2
    return (y_sum + half) // (_UNIT * _WINDOW), (x_sum + half) // (_UNIT * _WINDOW)


@compiled
def _ends(steps: NDArray[np.float32], inside: NDArray[np.bool_], count: int) -> NDArray[np.int32]:
    """(H, W) flat index of the pixel where each foreground pixel's walk ends, -1 in background."""
    height, width = inside.shape
    ends = np.full((height, width), -1, np.int32)
    for row in range(height):
        for column in range(width):
            if inside[row, column]:
                r, c = _walk(steps, row, column, count)
                ends[row, column] = r * width + c
    return ends


@compiled
def _ends_as_published(steps: NDArray[np.float32], inside: NDArray[np.bool_], count: int) -> NDArray[np.int32]:
    """The same, read where torch's `grid_sample` does without `align_corners`, for coordinates that are aligned."""
    height, width = inside.shape
    ends = np.full((height, width), -1, np.int32)
    zoom_y, zoom_x = height / max(1, height - 1), width / max(1, width - 1)
    for row in range(height):
        for column in range(width):
            if not inside[row, column]:
                continue
            y, x = float(row), float(column)
            for _ in range(count):
                # Row and column -1 of the padded steps are its last: empty, as what lies before the field.
                v, u = y * zoom_y - 0.5, x * zoom_x - 0.5
                r, c = int(np.floor(v)), int(np.floor(u))
                v, u = v - r, u - c
                top, below = steps[r], steps[r + 1]
                down = (1 - v) * ((1 - u) * top[c, 0] + u * top[c + 1, 0])
                across = (1 - v) * ((1 - u) * top[c, 1] + u * top[c + 1, 1])
                down += v * ((1 - u) * below[c, 0] + u * below[c + 1, 0])
                across += v * ((1 - u) * below[c, 1] + u * below[c + 1, 1])
                y, x = min(max(y + down, 0.0), height - 1.0), min(max(x + across, 0.0), width - 1.0)
            ends[row, column] = int(y) * width + int(x)
    return ends


@compiled
def _crowds(ends: NDArray[np.int32]) -> NDArray[np.int32]:
    crowds = np.zeros(ends.shape, np.int32)
    flat = crowds.ravel()
    for end in ends.ravel():
        if end >= 0:
            flat[end] += 1
    return crowds


@compiled
def _seeds(crowds: NDArray[np.int32], enough: int, ties: bool) -> NDArray[np.int64]:
    """(N, 2) places with more than `enough` walkers and none more crowded within 2 px, the least crowded first.

    Of two equally crowded ones near each other the first counts, row by row, or with `ties` both.
    """
    height, width = crowds.shape
    found = np.empty((height * width // 2 + 1, 2), np.int64)
    sizes = np.empty(len(found), np.int64)
    count = 0
    for row in range(height):
        for column in range(width):
            here = crowds[row, column]
            if here <= enough:
                continue
            peak = True
            for r in range(max(0, row - 2), min(height, row + 3)):
                for c in range(max(0, column - 2), min(width, column + 3)):
                    earlier = r < row or (r == row and c < column)
                    if crowds[r, c] > here or (crowds[r, c] == here and earlier and not ties):
                        peak = False
            if peak:
                found[count, 0], found[count, 1] = row, column
                sizes[count] = here
                count += 1
    order = np.argsort(sizes[:count], kind="mergesort")
    return found[:count][order]


@compiled
def _grow(crowds: NDArray[np.int32], seeds: NDArray[np.int64]) -> NDArray[np.int32]:
    """(H, W) which seed, from 1, walkers that end at a place belong to: step by step over crowded places around it.

    Where two seeds reach a place, the more crowded seed has it.
    """
    height, width = crowds.shape
    owner = np.zeros((height, width), np.int32)
    side = 2 * _REACH + 1
    reached = np.empty((side, side), np.bool_)
    queue = np.empty((side * side, 2), np.int64)
    for label in range(1, len(seeds) + 1):
        row_0, column_0 = seeds[label - 1]
        reached[:] = False
        reached[_REACH, _REACH] = True
        queue[0, 0], queue[0, 1] = row_0, column_0
        first, last = 0, 1
        for _ in range(_REACH):
            ring = last
            while first < ring:
                row, column = queue[first]
                first += 1
                for r in range(max(0, row - 1), min(height, row + 2)):
                    for c in range(max(0, column - 1), min(width, column + 2)):
                        i, j = r - row_0 + _REACH, c - column_0 + _REACH
                        if not reached[i, j] and crowds[r, c] > _CROWDED:
                            reached[i, j] = True
                            queue[last, 0], queue[last, 1] = r, c
                            last += 1
        for k in range(last):
            owner[queue[k, 0], queue[k, 1]] = label
    return owner


@compiled
def _look_up(ends: NDArray[np.int32], owner: NDArray[np.int32]) -> NDArray[np.int32]:
    labels = np.zeros(ends.shape, np.int32)
    flat = owner.ravel()
    for row in range(ends.shape[0]):
        for column in range(ends.shape[1]):
            if ends[row, column] >= 0:
                labels[row, column] = flat[ends[row, column]]
    return labels


@compiled
def _areas(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    areas = np.zeros((labels.max() if labels.size > 0 else 0) + 1, np.int64)
    for label in labels.ravel():
        areas[label] += 1
    return areas


@compiled
def _keep(labels: NDArray[np.int32], kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The map with only the ids kept, renumbered 1..N."""
    table = np.zeros(len(kept), np.int32)
    used = 0
    for label in range(1, len(kept)):
        if kept[label]:
            used += 1
            table[label] = used
    flat = labels.ravel()
    for i in range(len(flat)):
        flat[i] = table[flat[i]]
    return labels


def _without_misfits(
    labels: NDArray[np.int32], steps: NDArray[np.float32], max_flow_error: float, *, compat: bool
) -> NDArray[np.int32]:
    """Only instances whose flows fit their shape; all where the limit is 0."""
    if max_flow_error <= 0 or not labels.any():
        return labels
    flow = steps[:-1, :-1].transpose(2, 0, 1)
    return _keep(labels, flow_errors(labels, flow, compat=compat) <= max_flow_error)


def separate(
    inside: NDArray[np.bool_],
    flow: NDArray[np.float32],
    *,
    flow_scale: float,
    steps: int,
    seed_points: int,
    max_flow_error: float,
    min_area_px: int,
    max_area_px: int,
) -> NDArray[np.int32]:
    """Nuclei, each decided by the maps under and around it.

    Args:
        inside: (H, W) foreground.
        flow: (2, H, W) flows towards the centre, dy then dx.
        flow_scale: Length of a full flow; a step is one px then, and never longer.
        steps: How far a pixel can walk, px.
        seed_points: A nucleus' most crowded place has more walkers than this.
        max_flow_error: Instances whose flows are further from those of their shape vanish (see `flow_errors`); 0: none.
        min_area_px: Smaller instances vanish.
        max_area_px: Larger ones too.

    Returns:
        (H, W) int32 labels 1..N, solid one-piece instances.
    """
    inside = np.ascontiguousarray(inside)
    field = _prepared(flow, inside, 1 / flow_scale, 1.0)
    ends = _ends(field, inside, steps)
    crowds = _crowds(ends)
    labels = clean_instances(_look_up(ends, _grow(crowds, _seeds(crowds, seed_points, False))))
    areas = _areas(labels)
    labels = _keep(labels, (areas >= min_area_px) & (areas <= max_area_px))
    return _without_misfits(labels, field, max_flow_error, compat=False)


def separate_as_published(
    inside: NDArray[np.bool_],
    flow: NDArray[np.float32],
    *,
    flow_scale: float,
    steps: int,
    seed_points: int,
    max_flow_error: float,
    min_area_px: int,
    max_fraction: float,
) -> NDArray[np.int32]:
    """Nuclei as Cellpose 4 finds them, then made solid and one piece each.

    Args:
        inside: (H, W) foreground.
        flow: (2, H, W) flows towards the centre, dy then dx.
        flow_scale: Length of a full flow.
        steps: Number of steps.
        seed_points: A nucleus' most crowded place has more walkers than this.
        max_flow_error: Instances whose flows are further from those of their shape vanish; 0: none.
        min_area_px: Smaller instances vanish.
        max_fraction: Instances larger than this share of the field vanish.

    Returns:
        (H, W) int32 labels 1..N.
    """
    inside = np.ascontiguousarray(inside)
    field = _prepared(flow, inside, 1 / flow_scale, np.inf)
    ends = _ends_as_published(field, inside, steps)
    crowds = _crowds(ends)
    labels = _look_up(ends, _grow(crowds, _seeds(crowds, seed_points, True)))
    labels = _keep(labels, _areas(labels) <= max_fraction * inside.size)
    labels = _without_misfits(labels, field, max_flow_error, compat=True)
    labels = clean_instances(_keep(labels, _areas(labels) >= min_area_px))
    return _keep(labels, _areas(labels) >= min_area_px)
