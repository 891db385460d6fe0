"""Masks thinned to lines a pixel wide (compiled)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = ["skeleton", "skeleton_plain"]


def _removable() -> NDArray[np.uint8]:
    """(256,) for each set of neighbours, clockwise from the one above as bits: 1 first pass, 2 second, 3 either."""
    table = np.zeros(256, np.uint8)
    for code in range(256):
        ring = [(code >> k) & 1 for k in range(8)]
        up, right, down, left = ring[0], ring[2], ring[4], ring[6]
        starts = sum(ring[k] == 0 and ring[(k + 1) % 8] == 1 for k in range(8))
        if 2 <= sum(ring) <= 6 and starts == 1:
            table[code] += up * right * down == 0 and right * down * left == 0
            table[code] += 2 * (up * right * left == 0 and up * down * left == 0)
    return table


_REMOVABLE = _removable()


@compiled
def _thin(mask: NDArray[np.uint8], removable: NDArray[np.uint8]) -> None:
    """Peel a framed mask until nothing more comes off; only what is left after a round is looked at in the next."""
    height, width = mask.shape
    flat = mask.ravel()
    around = (-width, 1 - width, 1, width + 1, width, width - 1, -1, -width - 1)
    waiting = np.empty(height * width, np.int64)
    going = np.empty(height * width, np.int64)
    left = 0
    for pixel in range(width, height * width - width):
        if flat[pixel]:
            waiting[left] = pixel
            left += 1
    changed = True
    while changed:
        changed = False
        for bit in (1, 2):
            count = 0
            for k in range(left):
                code = 0
                for n in range(8):
                    code |= flat[waiting[k] + around[n]] << n
                if removable[code] & bit:
                    going[count] = waiting[k]
                    count += 1
            for k in range(count):
                flat[going[k]] = 0
            if count > 0:
                changed = True
                kept = 0
                for k in range(left):
                    if flat[waiting[k]]:
                        waiting[kept] = waiting[k]
                        kept += 1
                left = kept


def skeleton(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) the middle lines of a mask of 0 and 1, by parallel peeling in two passes.

    Zhang & Suen 1984 (doi 10.1145/357994.358023).
    """
    framed = np.pad(mask, 1)
    _thin(framed, _REMOVABLE)
    return framed[1:-1, 1:-1]


def skeleton_plain(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same as `skeleton`, pass by pass over the whole mask: what the compiled version must agree with."""
    framed, before = np.pad(mask, 1), None
    ring = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    while before is None or not np.array_equal(before, framed):
        before = framed
        for bit in (1, 2):
            codes = sum(
                np.roll(framed, (-down, -right), (0, 1)).astype(np.int64) << k for k, (down, right) in enumerate(ring)
            )
            framed = np.where(_REMOVABLE[codes] & bit, 0, framed).astype(np.uint8)
    return framed[1:-1, 1:-1]
