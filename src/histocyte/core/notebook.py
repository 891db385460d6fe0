"""Results as notebooks show them: tables in HTML and small pictures of outlines; what they hold of others is text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from histocyte.core.plain_text import plain

__all__ = ["dot", "html_table", "outlines_svg"]

_SIDE_PX = 360
"""Longer side of a picture."""
_MOST_OUTLINES = 1500
_NO_CLASS = (90, 90, 90)


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose cells are text.

    Args:
        caption: Above it.
        head: Names of the columns.
        rows: As many cells as columns each.

    >>> html_table("cells", ("class",), [("<i>",)])
    '<table><caption>cells</caption><tr><th>class</tr><tr><td>&lt;i&gt;</tr></table>'
    """
    cells = ("".join(f"<td>{escape(plain(str(cell)))}" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    names = "".join(f"<th>{escape(plain(name))}" for name in head)
    return f"<table><caption>{escape(plain(caption))}</caption><tr>{names}</tr>{body}</table>"


def dot(colour: tuple[int, int, int] | None) -> str:
    """A dot of a class's colour, RGB 0–255; nothing where there is none."""
    return "" if colour is None else f'<span style="color:{_hex(colour)}">●</span> '


def outlines_svg(
    contour_xy: NDArray[np.float64],
    offsets: NDArray[np.int64],
    kinds: NDArray[np.int64],
    colours: Sequence[tuple[int, int, int]],
) -> str:
    """Outlines in the colours of their classes, as an SVG; of very many an even choice.

    Args:
        contour_xy: (M, 2) points (x, y) of all outlines, one outline after the other.
        offsets: (N + 1,) where each begins.
        kinds: (N,) class of each, -1 for none.
        colours: Colours of the classes, RGB 0–255.
    """
    if len(offsets) < 2:
        return ""
    corner, size = contour_xy.min(axis=0), np.ptp(contour_xy, axis=0) + 1
    scale = _SIDE_PX / float(size.max())
    width, height = np.ceil(size * scale).astype(int)
    shown = np.unique(np.linspace(0, len(offsets) - 2, min(len(offsets) - 1, _MOST_OUTLINES)).astype(np.int64))
    paths: dict[int, list[str]] = {}
    for i in shown:
        points = np.round((contour_xy[offsets[i] : offsets[i + 1]] - corner) * scale, 1)
        points = points[np.r_[True, (np.abs(np.diff(points, axis=0)) >= 0.3).any(axis=1)]]
        paths.setdefault(int(kinds[i]), []).append("M" + " ".join(f"{x:g},{y:g}" for x, y in points) + "z")
    drawn = "".join(
        f'<path d="{"".join(outlines)}" stroke="{_hex(colours[kind] if kind >= 0 else _NO_CLASS)}"/>'
        for kind, outlines in sorted(paths.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'fill="none" stroke-width="0.8">{drawn}</svg>'
    )


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
