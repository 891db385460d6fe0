"""What the plots of a report have in common: look, size, and SVG that is the same for the same numbers."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import require
from histocyte.core.plain_text import as_utf8
from histocyte.pages.text import estimate_text
from histocyte.statistics.bootstrap import LEAST_GROUPS, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DARK",
    "MUTED",
    "Plot",
    "draw",
    "draw_intervals",
    "rasterised",
    "short",
    "spoken",
    "with_intervals",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
"""Told apart with any kind of colour vision (Okabe and Ito 2002); plots also differ in shape, for print in grey."""

DARK = "#1c1e2e"
MUTED = "#5c6072"

_MARKERS = (("o", True), ("s", False), ("^", True), ("D", False))
"""Shape of each series, and whether it is filled."""

MANY_POINTS = 2000
"""From here on points are drawn as a picture, not each as a shape, so that the page stays small."""

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same text everywhere
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": DARK,
    "text.color": DARK,
    "xtick.color": DARK,
    "ytick.color": DARK,
    "axes.grid": False,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "histocyte",
    "text.parse_math": False,  # a name of a data set may hold a dollar sign
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of a report.

    Attributes:
        svg: The drawing.
        alt: What it shows in words, with the numbers.
        caption: How to read it.
        width_px: Its width on the page, CSS px.
    """

    svg: bytes
    alt: str
    caption: str
    width_px: int


def draw(paint: Callable[[Figure], None], *, size_in: tuple[float, float], alt: str, caption: str) -> Plot:
    """Make a plot.

    Args:
        paint: Draws on an empty figure.
        size_in: Width and height, inches.
        alt: See `Plot`.
        caption: See `Plot`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib, figures = require("matplotlib", extra="report"), require("matplotlib.figure", extra="report")
    buffer = io.BytesIO()
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Names may be in a script the font lacks; the tables have them whole.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        fonts.setLevel(logging.ERROR)
        try:
            figure = figures.Figure(figsize=size_in, layout="constrained")
            paint(figure)
            figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
        finally:
            fonts.setLevel(level)
    return Plot(as_utf8(buffer.getvalue().decode()), alt, caption, round(size_in[0] * 100))


def draw_intervals(
    axes: Axes, labels: Sequence[str], series: Sequence[tuple[str, Sequence[Estimate | None]]], *, xlabel: str
) -> None:
    """A row for each label, in it a mark with its interval for each series; the scale is 0 to 1.

    Args:
        axes: Where to.
        labels: Labels of the rows, from the top.
        series: Title and one estimate a row; what is None or undefined is left empty.
        xlabel: Label of the scale.
    """
    rows = np.arange(len(labels), dtype=np.float64)
    for i, (title, estimates) in enumerate(series):
        marker, filled = _MARKERS[i % len(_MARKERS)]
        colour = COLOURS[i % len(COLOURS)]
        offset = (i - (len(series) - 1) / 2) * 0.56 / max(1, len(series) - 1) if len(series) > 1 else 0.0
        shown = [(y + offset, e) for y, e in zip(rows, estimates, strict=True) if e and not math.isnan(e.value)]
        if not shown:
            continue
        for y, e in shown:
            if not math.isnan(e.low):
                axes.plot([e.low, e.high], [y, y], color=colour, linewidth=2, solid_capstyle="butt", zorder=2)
        axes.plot(
            [e.value for _, e in shown],
            [y for y, _ in shown],
            marker,
            color=colour,
            markerfacecolor=colour if filled else "white",
            markersize=6.5,
            markeredgewidth=1.5,
            label=title,
            zorder=3,
        )
    for boundary in rows[1:] - 0.5:
        axes.axhline(boundary, color="#e2e4eb", linewidth=0.8, zorder=0)
    axes.set_yticks(rows, labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.grid(True, color="#e2e4eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel)
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.figure.legend(
            *axes.get_legend_handles_labels(), loc="outside upper center", ncols=min(3, len(series)), handletextpad=0.3
        )


def rasterised(values: NDArray[np.floating] | NDArray[np.integer]) -> bool:
    """Whether so many points are drawn as a picture."""
    return len(values) > MANY_POINTS


def short(name: str, most: int = 24) -> str:
    """A name for an axis; the tables have it whole."""
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


def with_intervals(estimates: Sequence[Estimate | None], words: str = ", with 95 % interval") -> str:
    """What a caption or an axis says of the intervals that are drawn: nothing where there are none."""
    shown = [e for e in estimates if e is not None and not math.isnan(e.value)]
    told = sum(not math.isnan(e.low) for e in shown)
    if not told:
        return ""
    return words if told == len(shown) else f"{words} where {LEAST_GROUPS} patients, slides or single images have it"


def spoken(e: Estimate | None) -> str:
    """A score and its interval in words; n is said beside it."""
    if e is None or math.isnan(e.value):
        return "undefined"
    return estimate_text(e, 2)
