"""The squares that a network is given of a field: where they lie, and which sizes are possible.

Tiles overlap by twice the margin, and each pixel is taken from the tile in which it lies most central.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from histocyte.core.errors import InputError

__all__ = ["LARGEST_TILE_PX", "Span", "are_possible", "check_tiles", "tile_spans"]

LARGEST_TILE_PX = 2**14


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis: it reads [start, start + size) and gives [core_start, core_stop)."""

    start: int
    size: int
    core_start: int
    core_stop: int


def are_possible(*, tile_px: int, margin_px: int, multiple: int) -> bool:
    """Whether a field can be covered: a core is left within the margins, and tiles start and end at multiples.

    >>> [are_possible(tile_px=768, margin_px=m, multiple=64) for m in (0, 31, 32, 384)]
    [True, False, True, False]
    """
    step = tile_px - 2 * margin_px
    return margin_px >= 0 and step > 0 and tile_px % multiple == 0 and step % multiple == 0


def check_tiles(network: str, *, tile_px: int, margin_px: int, multiple: int) -> None:
    """See that a network can be given such tiles.

    Args:
        network: What messages call it.
        tile_px: Side of a tile, px at the network's resolution.
        margin_px: Its margin.
        multiple: What the sides of its images are multiples of.

    Raises:
        InputError: It cannot.

    >>> check_tiles("'mine'", tile_px=1000, margin_px=64, multiple=64)
    Traceback (most recent call last):
    histocyte.core.errors.InputError: --tile 1000: tiles of 'mine' are multiples of 64 px up to 16384, e.g. 960 or 1024.
    """
    if tile_px % multiple or not 0 < tile_px <= LARGEST_TILE_PX:
        near = _nearest(tile_px, multiple, LARGEST_TILE_PX, least=multiple)
        raise InputError(
            f"--tile {tile_px}: tiles of {network} are multiples of {multiple} px up to {LARGEST_TILE_PX}, e.g. {near}."
        )
    step = multiple // math.gcd(multiple, 2)
    most = (tile_px - multiple) // 2 // step * step
    if margin_px % step or not 0 <= margin_px <= most:
        raise InputError(
            f"--margin {margin_px}: margins of {network} in tiles of {tile_px} px are multiples of {step} px from 0 to "
            f"{most}, e.g. {_nearest(margin_px, step, most)}."
        )


def _nearest(value: int, step: int, most: int, *, least: int = 0) -> str:
    """The multiples of a step on either side of a value, within limits."""
    largest = most // step * step
    sides = {min(max(each, least), largest) for each in (value // step * step, -(-value // step) * step)}
    return " or ".join(map(str, sorted(sides)))


def tile_spans(length: int, *, tile_px: int, margin_px: int, multiple: int) -> list[Span]:
    """Cover an axis of `length` px with tiles whose cores partition it.

    Args:
        length: Length of the field.
        tile_px: Size of a full tile; the last one is cut to what is left, rounded up to `multiple`.
        margin_px: On each side of a core, except at the ends of the axis.
        multiple: Tile sizes are multiples of this; `tile_px` and the core of a full tile must be.

    Raises:
        ValueError: A tile without a core, or of an impossible size.

    >>> [(s.start, s.core_start, s.core_stop) for s in tile_spans(200, tile_px=128, margin_px=16, multiple=16)]
    [(0, 0, 112), (96, 112, 200)]
    """
    if not are_possible(tile_px=tile_px, margin_px=margin_px, multiple=multiple):
        raise ValueError(
            f"Tiles of {tile_px} px with margins of {margin_px} px, in multiples of {multiple}, are impossible."
        )
    spans, start = [], 0
    while True:
        left = length - start
        last = left <= tile_px
        size = -(-left // multiple) * multiple if last else tile_px
        core_start = 0 if start == 0 else start + margin_px
        core_stop = length if last else start + tile_px - margin_px
        spans.append(Span(start, size, core_start, core_stop))
        if last:
            return spans
        start += tile_px - 2 * margin_px
