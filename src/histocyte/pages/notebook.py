"""Results as notebooks show them: a table in HTML, whatever is in its cells being text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from histocyte.core.plain_text import plain

__all__ = ["html_table"]


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
