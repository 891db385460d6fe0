"""The squares that a network is given of a field: where they lie, and which sizes are possible.

Tiles overlap by twice the margin, and each pixel is taken from the tile in which it lies most central.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Span", "are_possible", "tile_spans"]


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


def tile_spans(length: int, *, tile_px: int, margin_px: int, multiple: int) -> list[Span]:
    """Cover an axis of `length` px with tiles whose cores partition it.

    Args:
        length: Of the field.
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
