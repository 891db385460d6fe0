"""Numbers in half precision from those in single, quickly also where they are next to nothing.

Numpy reports each number too small or too large for half precision to the processor's flags. Most of a network's
probabilities are such, and to put them down took a third as long as the network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = ["write_half", "write_half_plain"]


def write_half(source: NDArray[np.float32], target: NDArray[np.float16]) -> None:
    """Put numbers down in half precision: the nearest, of two the even; beyond 65504 infinite.

    Args:
        source: (C, H, W), which may be a part of an array.
        target: (C, H, W), which may be a part of an array; is changed.
    """
    _round(source, source.view(np.uint32), target.view(np.uint16))


def write_half_plain(source: NDArray[np.float32], target: NDArray[np.float16]) -> None:
    """The same as `write_half`, by numpy."""
    with np.errstate(over="ignore"):
        target[:] = source


@compiled
def _round(source: NDArray[np.float32], bits: NDArray[np.uint32], target: NDArray[np.uint16]) -> None:
    """Both formats are sign, exponent and fraction; half precision has 5 and 10 bits of 8 and 23.

    Args:
        source: (C, H, W) numbers.
        bits: The same, as whole numbers.
        target: (C, H, W) bits of half precision.
    """
    channels, height, width = source.shape
    # Added to a number below 2**-14, a half pushes out of its fraction what half precision has no room for.
    pushed = np.empty(width, np.float32)
    small = pushed.view(np.uint32)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                pushed[x] = abs(source[c, y, x]) + np.float32(0.5)
            for x in range(width):
                one = bits[c, y, x]
                size = one & np.uint32(0x7FFFFFFF)
                odd = (size >> np.uint32(13)) & np.uint32(1)
                usual = (size + odd + np.uint32(0xC8000FFF)) >> np.uint32(13)
                tiny = small[x] - np.uint32(0x3F000000)
                huge = np.uint32(0x7E00) if size > np.uint32(0x7F800000) else np.uint32(0x7C00)
                found = tiny if size < np.uint32(0x38800000) else usual
                found = huge if size >= np.uint32(0x47800000) else found
                target[c, y, x] = found | ((one >> np.uint32(16)) & np.uint32(0x8000))
