"""Counts, or the agreement of two results, as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from histocyte.core.names import counted
from histocyte.counts.agreement import ClassAgreement, CountAgreement
from histocyte.counts.result import Counts, RegionCount
from histocyte.pages.drawing import COLOURS, DARK, MUTED, Plot, draw, rasterised, short, with_intervals
from histocyte.pages.page import check_html, embedded, write_page
from histocyte.statistics.agreement import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_agreement", "plot_densities", "write_counts_html"]


def write_counts_html(report: Counts | CountAgreement, path: Path) -> None:
    """Write the tables, with a plot of each, whole or not at all.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        InputError: The path is a folder.
        DiskError: The file could not be written.
    """
    check_html(path)
    facts = {"Resolution": f"{report.mpp:g} µm/px"}
    if isinstance(report, Counts):
        title = f"Cells of {report.name}"
        facts |= {
            "Result": str(report.path),
            "Intervals": f"95 %, bootstrap of cells by area over squares of {report.grid_um:g} µm taken as "
            f"independent, {report.replicates:,} resamples, seed {report.seed}",
        }
        each = report.columns[0] == "class"
        plots = [plot_densities(region) for region in report.regions] if each else [None]
    else:
        title = f"Agreement of counts on {report.name}"
        facts |= {
            "First": str(report.first),
            "Second": str(report.second),
            "Compared": f"{report.unit} of {len(report.subjects)} {report.subjects_are}, second less first",
            "Intervals": f"95 %; {'regions' if report.grid_um is None else 'squares'} are taken as independent",
        }
        plots = [plot_agreement(c, report.unit, report.subjects_are) for c in report.classes]
    write_page(
        path,
        __package__,
        "counts.html.jinja",
        title=title,
        facts=list(facts.items()),
        notes=report.notes,
        columns=report.columns,
        sections=[
            {"title": heading, "rows": rows, "plot": None if plot is None else embedded(plot)}
            for (heading, rows), plot in zip(report.tables(), plots, strict=True)
        ],
    )


def plot_densities(region: RegionCount) -> Plot | None:
    """Cells per mm² of each class with its interval; None where no area is known."""
    shown = [c for c in region.classes if not math.isnan(c.density.value)]
    if not shown:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for y, c in enumerate(shown):
            if not math.isnan(c.density.low):
                axes.plot([c.density.low, c.density.high], [y, y], color=COLOURS[0], linewidth=2)
            axes.plot([c.density.value], [y], "o", color=COLOURS[0], markersize=6.5)
        axes.set_yticks(range(len(shown)), [f"{short(c.name)}\n{counted(c.count, 'cell')}" for c in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(left=0)
        axes.xaxis.grid(True, color="#e2e4eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("cells per mm²")

    intervals = with_intervals([c.density for c in shown])
    caption = f"Cells per mm² of '{region.name}'{intervals}, n = {counted(region.squares, 'square')}."
    said = "; ".join(f"{c.name} {c.density.value:.4g}" for c in shown)
    return draw(paint, size_in=(5.6, 0.9 + 0.45 * len(shown)), alt=f"{caption} {said}.", caption=caption)


def plot_agreement(c: ClassAgreement, unit: str, subjects_are: str) -> Plot | None:
    """Bland and Altman's plot beside the second against the first; None without subjects."""
    if not len(c.values):
        return None
    ba = c.bland_altman

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        mean, difference = c.values.mean(axis=1), c.values[:, 1] - c.values[:, 0]
        ends = np.array([mean.min(), mean.max()])
        for line, style in ((ba.bias, "-"), (ba.lower, "--"), (ba.upper, "--")):
            _level(left, line, style)
        if not math.isnan(ba.slope.value):
            left.plot(ends, ba.intercept + ba.slope.value * ends, ":", color=COLOURS[1], linewidth=1.5)
        _points(left, mean, difference)
        left.axhline(0, color="#c9ccd8", linewidth=0.8, zorder=0)
        if not difference.any():
            left.set_ylim(-1, 1)  # else the scale is that of rounding
        left.set_title("difference against mean", loc="left")
        left.set_xlabel(f"mean of both, {unit}")
        left.set_ylabel(f"second less first, {unit}")
        most = 1.06 * max(1.0, float(c.values.max()))
        right.plot([0, most], [0, most], "--", color=MUTED, linewidth=1, zorder=1)
        _points(right, *c.values.T)
        right.set_xlim(-0.02 * most, most)
        right.set_ylim(-0.02 * most, most)
        right.set_aspect("equal")
        right.set_title("second against first", loc="left")
        right.set_xlabel(f"first, {unit}")
        right.set_ylabel(f"second, {unit}")
        for axes in (left, right):
            axes.locator_params(nbins=5)

    caption = (
        f"Class '{c.name}', n = {ba.n} {subjects_are}. Left: bias (solid) and limits of agreement (dashed), within "
        "which 95 % of differences lie if they are normal, each with its interval (band); dotted the proportional "
        "bias. Right: on the dashed line both agree."
    )
    said = f"bias {_said(ba.bias)}, limits {_said(ba.lower)} and {_said(ba.upper)}, ICC(2,1) {_said(c.icc_agreement)}"
    return draw(paint, size_in=(9.0, 3.9), alt=f"{caption} {said}.", caption=caption)


def _level(axes: Axes, line: Interval, style: str) -> None:
    if math.isnan(line.value):
        return
    axes.axhline(line.value, linestyle=style, color=DARK, linewidth=1.2, zorder=3)
    if not math.isnan(line.low):
        axes.axhspan(line.low, line.high, color=COLOURS[5], alpha=0.18, linewidth=0, zorder=0)


def _points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    axes.plot(
        x,
        y,
        "o",
        color=COLOURS[0],
        alpha=0.55,
        markersize=4.5,
        markeredgewidth=0,
        zorder=2,
        rasterized=rasterised(x),
    )


def _said(figure: Interval) -> str:
    return "undefined" if math.isnan(figure.value) else f"{figure.value:.3g}"
