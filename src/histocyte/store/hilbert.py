"""Hilbert's curve: an order of the plane in which what is near on the curve is near on the slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["hilbert_index"]


def hilbert_index(x: NDArray[np.integer], y: NDArray[np.integer], *, bits: int) -> NDArray[np.int64]:
    """Place of grid cells on the Hilbert curve through 2^bits × 2^bits of them.

    The curve is self-similar: `hilbert_index(...) >> 2 * k` is the same for all cells of one aligned square of
    2^k × 2^k and orders those squares along a Hilbert curve as well.

    Args:
        x: (N,) column, clipped to 0..2^bits - 1.
        y: (N,) row, clipped in the same way.
        bits: Order of the curve, at most 31.

    Returns:
        (N,) place on the curve, 0..4^bits - 1.
    """
    last = (1 << bits) - 1
    x = np.clip(x, 0, last).astype(np.int64)
    y = np.clip(y, 0, last).astype(np.int64)
    place = np.zeros(len(x), np.int64)
    for bit in range(bits - 1, -1, -1):
        right, lower = (x >> bit) & 1, (y >> bit) & 1
        place += ((3 * right) ^ lower) << (2 * bit)
        # The upper quadrants hold the curve turned: mirrored in the right one, transposed in both.
        mirror = (lower == 0) & (right == 1)
        x, y = np.where(mirror, last - x, x), np.where(mirror, last - y, y)
        x, y = np.where(lower == 0, y, x), np.where(lower == 0, x, y)
    return place
