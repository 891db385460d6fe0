"""Pixels as files store them: how many of 16 bits are used, and what a file asks of those who show it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["depth_note", "in_8_bits", "turn_note", "used_bits"]

_DEPTHS = (8, 10, 12, 14, 16)
"""Bit depths of cameras and scanners, bits."""


def used_bits(highest: int) -> int:
    """How many bits a picture has whose highest value is this: the smallest depth of a camera that holds it.

    A picture of stained tissue has glass or lumen in it that is nearly white, so its highest value is not far from what
    its depth allows; read as 16 bits one of 12 would be black.

    >>> used_bits(255), used_bits(4000), used_bits(16384)
    (8, 12, 16)
    """
    return next(bits for bits in _DEPTHS if highest < 1 << bits or bits == 16)


def in_8_bits(values: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    """Values of a depth, in 8 bits; what is higher than the depth allows is white.

    >>> in_8_bits(np.array([0, 2048, 4095, 5000], np.uint16), 12).tolist()
    [0, 128, 255, 255]
    """
    return (np.minimum(values, np.uint16((1 << bits) - 1)) >> (bits - 8)).astype(np.uint8)


def depth_note(bits: int, highest: int | None) -> tuple[str, ...]:
    """What to say of a file of 16 bits that uses as many.

    Args:
        bits: Number of bits.
        highest: Value that was seen, where the file does not state the bits.
    """
    if bits == 16:
        return ()
    why = "as the file states" if highest is None else f"as its highest value is {highest:,}"
    return (f"Its pixels are taken for {bits} bits in 16, {why}.",)


def turn_note(orientation: int, kind: str) -> tuple[str, ...]:
    """What to say of a file that asks viewers to turn or mirror its picture.

    Labels and outlines are of the pixels as they are stored.

    Args:
        orientation: 1 as it is stored, 2 to 8 otherwise.
        kind: Where it says so.
    """
    if orientation == 1:
        return ()
    return (f"It asks viewers to turn it ({kind} orientation {orientation}); it is read as it is stored, unturned.",)
