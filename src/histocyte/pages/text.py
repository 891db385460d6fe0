"""Estimates and tables as text, the same way on every page, card and terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from histocyte.statistics.bootstrap import Estimate

__all__ = ["escaped", "estimate_text", "figures", "interval_text", "markdown_table", "number", "p_text"]

_MARKUP = re.compile(r"[\\|<>*\[\]]|(?<!\w)_|_(?!\w)")
"""What Markdown would take for its own, but for quotes of commands; an underscore within a word is none."""


def number(value: float, decimals: int = 3, *, sign: bool = False) -> str:
    """A number with a true minus sign, or a dash where it is undefined.

    >>> number(-0.0001), number(-0.25), number(0.5, 1, sign=True), number(float("nan"))
    ('0.000', '−0.250', '+0.5', '–')
    """
    if math.isnan(value):
        return "–"
    rounded = round(value, decimals) + 0.0  # no minus before a zero
    return f"{rounded:{'+' if sign else ''}.{decimals}f}".replace("-", "−")


def figures(value: float) -> str:
    """A number with three figures, or all those before the point.

    >>> figures(1234.5), figures(0.012345), figures(float("nan"))
    ('1,234', '0.0123', '–')
    """
    if math.isnan(value):
        return "–"
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", "−")


def interval_text(estimate: Estimate, decimals: int = 3, *, sign: bool = False) -> str:
    """The ends of an interval, or a dash where there is none."""
    if math.isnan(estimate.low):
        return "–"
    return f"{number(estimate.low, decimals, sign=sign)} to {number(estimate.high, decimals, sign=sign)}"


def estimate_text(estimate: Estimate | None, decimals: int = 3, *, sign: bool = False) -> str:
    """A score with its interval in brackets, where it has one; a dash where it is undefined.

    >>> estimate_text(Estimate(0.5, 0.25, 0.75, 10, 0)), estimate_text(None)
    ('0.500 (0.250 to 0.750)', '–')
    """
    if estimate is None or math.isnan(estimate.value):
        return "–"
    value = number(estimate.value, decimals, sign=sign)
    if math.isnan(estimate.low):
        return value
    return f"{value} ({interval_text(estimate, decimals, sign=sign)})"


def p_text(p: float) -> str:
    """A p-value."""
    if math.isnan(p):
        return "–"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def escaped(text: str) -> str:
    r"""Text of files, such as a name, for Markdown: it ends no cell and no line, and begins no markup.

    >>> print(escaped("a|b\n<i>my_model</i>"))
    a\|b \<i\>my_model\</i\>
    """
    return _MARKUP.sub(lambda found: "\\" + found[0], " ".join(text.split()))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown, its cells escaped."""
    lines = [[escaped(cell) for cell in head], ["---"] * len(head), *([escaped(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
