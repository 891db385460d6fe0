"""Resampling by position: a pixel's value is decided by where it stands on the slide, not by the box read.

Output pixel i covers [i·s, (i+1)·s) of the source; its value is a mean of the source pixels around its
centre (i+½)·s, weighted by a triangle of half-width max(1, s): bilinear where it enlarges, antialiased
where it shrinks. Weights come from the global index in float64 and are then whole numbers, so that sums are
exact and any two boxes agree to the last bit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = ["resample", "resample_plain", "source_span"]

WEIGHT_BITS = 14
"""Weights of one pixel sum to 2**WEIGHT_BITS."""
KEPT_BITS = 8
"""Bits below one grey level kept between the two passes; 8 + KEPT_BITS + WEIGHT_BITS fit an int32."""


def source_span(start: int, count: int, scale: float) -> tuple[int, int]:
    """First source pixel and one past the last that output pixels [start, start + count) draw on.

    Args:
        start: Global index of the first output pixel.
        count: Number of output pixels, at least 1.
        scale: Source pixels per output pixel.
    """
    if scale == 1.0:
        return start, start + count
    first, weights = _taps(np.array([start, start + count - 1], np.int64), scale)
    return int(first[0]), int(first[1]) + weights.shape[1]


def resample(
    source: NDArray[np.uint8], origin: tuple[int, int], start: tuple[int, int], size: tuple[int, int], scale: float
) -> NDArray[np.uint8]:
    """Output pixels at `start` of `size`, from a patch of the source that holds their `source_span`.

    Args:
        source: (H, W, 3) patch of the source.
        origin: Global (x, y) of the patch's first pixel.
        start: Global (x, y) of the first output pixel.
        size: Width and height of the output.
        scale: Source pixels per output pixel, the same for both axes.

    Returns:
        (height, width, 3).
    """
    if scale == 1.0:
        return _window(source, origin, start, size)
    columns, column_weights = _patch_taps(start[0], size[0], scale, origin[0])
    rows, row_weights = _patch_taps(start[1], size[1], scale, origin[1])
    taps = columns[None, :, None] + np.arange(column_weights.shape[1])[:, None, None]
    out = np.empty((size[1], size[0], 3), np.uint8)
    _resample_kernel(
        np.ascontiguousarray(source).reshape(source.shape[0], -1),
        rows,
        row_weights,
        (3 * taps + np.arange(3)).reshape(len(taps), -1).astype(np.uint32),
        np.ascontiguousarray(np.repeat(column_weights.T, 3, axis=1)),
        out.reshape(size[1], -1),
    )
    return out


def resample_plain(
    source: NDArray[np.uint8], origin: tuple[int, int], start: tuple[int, int], size: tuple[int, int], scale: float
) -> NDArray[np.uint8]:
    """The same as `resample`, bit by bit, in plain numpy: slower, and the one to read first."""
    if scale == 1.0:
        return _window(source, origin, start, size)
    columns, column_weights = _patch_taps(start[0], size[0], scale, origin[0])
    rows, row_weights = _patch_taps(start[1], size[1], scale, origin[1])
    lines = np.zeros((size[1], source.shape[1], 3), np.int32)
    for t in range(row_weights.shape[1]):
        lines += source[rows + t] * row_weights[:, t, None, None]
    lines >>= WEIGHT_BITS - KEPT_BITS
    sums = np.full((size[1], size[0], 3), 1 << (WEIGHT_BITS + KEPT_BITS - 1), np.int32)
    for t in range(column_weights.shape[1]):
        sums += lines[:, columns + t] * column_weights[None, :, t, None]
    return np.asarray(sums >> (WEIGHT_BITS + KEPT_BITS), np.uint8)


def _window(
    source: NDArray[np.uint8], origin: tuple[int, int], start: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    x, y = start[0] - origin[0], start[1] - origin[1]
    return source[y : y + size[1], x : x + size[0]].copy()


def _taps(index: NDArray[np.int64], scale: float) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """First source pixel (N,) and weights (N, T) of output pixels `index`."""
    reach = max(1.0, scale)
    count = max(1, math.ceil(2 * reach - 1e-9))
    centre = (index.astype(np.float64) + 0.5) * scale
    first = np.floor(centre - reach - 0.5).astype(np.int64) + 1
    source_centre = first[:, None] + np.arange(count) + 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(source_centre - centre[:, None]) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    whole = np.rint(weights * (1 << WEIGHT_BITS)).astype(np.int32)
    # What rounding took or gave goes to the largest weight, so that a flat colour stays what it is.
    whole[np.arange(len(index)), weights.argmax(axis=1)] += (1 << WEIGHT_BITS) - whole.sum(axis=1)
    return first, whole


def _patch_taps(start: int, count: int, scale: float, origin: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    first, weights = _taps(np.arange(start, start + count, dtype=np.int64), scale)
    return first - origin, weights


@compiled
def _resample_kernel(
    source: NDArray[np.uint8],
    rows: NDArray[np.int64],
    row_weights: NDArray[np.int32],
    columns: NDArray[np.uint32],
    column_weights: NDArray[np.int32],
    out: NDArray[np.uint8],
) -> None:
    """Rows, then columns, one output row at a time; inner loops run along memory so that they vectorise.

    Args:
        source: (H, 3W) patch.
        rows: (h,) first source row of each output row.
        row_weights: (h, T) weights.
        columns: (T, 3w) index into a source row of each tap of each output value; unsigned, which spares
            the test for negative indices.
        column_weights: (T, 3w) weights.
        out: (h, 3w) result.
    """
    half = np.int32(1 << (WEIGHT_BITS + KEPT_BITS - 1))
    line = np.empty(source.shape[1], np.int32)
    sums = np.empty(out.shape[1], np.int32)
    for y in range(out.shape[0]):
        line[:] = 0
        for t in range(row_weights.shape[1]):
            weight = row_weights[y, t]
            row = source[rows[y] + t]
            for k in range(line.shape[0]):
                line[k] += np.int32(weight * np.int32(row[k]))
        for k in range(line.shape[0]):
            line[k] >>= WEIGHT_BITS - KEPT_BITS
        sums[:] = half
        for t in range(column_weights.shape[0]):
            for k in range(sums.shape[0]):
                sums[k] += np.int32(column_weights[t, k] * line[columns[t, k]])
        for k in range(sums.shape[0]):
            out[y, k] = sums[k] >> (WEIGHT_BITS + KEPT_BITS)
