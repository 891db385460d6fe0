"""A field taken a few rows at a time, so that what a step needs beside its result stays small and in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Strip", "strips"]

_ROWS = 128
"""Rows of 2,000 px and their scratch then stay within a few MB."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Some rows of a field.

    Attributes:
        rows: These rows, in the field.
        around: The same with the halo, as far as the field goes.
        inner: These rows, in `around`.
    """

    rows: slice
    around: slice
    inner: slice


def strips(height: int, *, halo: int = 0) -> Iterator[Strip]:
    """Cut a field of `height` rows into strips; `halo` is what a strip's values depend on above and below it.

    >>> [(s.rows, s.around) for s in strips(200, halo=3)]
    [(slice(0, 128, None), slice(0, 131, None)), (slice(128, 200, None), slice(125, 200, None))]
    """
    for top in range(0, height, _ROWS):
        bottom = min(height, top + _ROWS)
        first = max(0, top - halo)
        yield Strip(slice(top, bottom), slice(first, min(height, bottom + halo)), slice(top - first, bottom - first))
