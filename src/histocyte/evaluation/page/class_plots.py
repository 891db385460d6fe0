"""The plots of a report on classes: which were found as which, and whether their probabilities are to be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from histocyte.core.names import counted
from histocyte.evaluation.class_summary import CalibrationSummary, ConfusionSummary
from histocyte.pages.drawing import COLOURS, DARK, MUTED, Plot, draw, short, spoken, with_intervals
from histocyte.statistics.bootstrap import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_confusion", "plot_reliability"]

_WIDTH = 5.6
"""Inches, as the other plots of a report."""

_ROOM = 0.74
"""Inches that a cell of the confusion needs for its three lines; with more than some six classes it is a broad plot."""

_DARK_SHARE = 0.7
"""From this share on a cell is so dark that its text is white."""

_FEW = 10
"""A bin of fewer nuclei says little, and its interval less: its mark is hollow."""


def plot_confusion(confusion: ConfusionSummary | None, class_names: Sequence[str], n_images: int) -> Plot | None:
    """Nuclei by true and found class with the missed and the false; None without classes.

    Args:
        confusion: Confusion of one data set.
        class_names: The K classes.
        n_images: Images behind the intervals.
    """
    if confusion is None:
        return None
    k = len(class_names)
    # Row and column 0 (no partner) go last, where a reader expects them.
    order = [*range(1, k + 1), 0]
    table = confusion.counts[np.ix_(order, order)]
    shares = [[confusion.shares[row][column] for column in order] for row in order]
    filled = [share for row in shares for share in row]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        shown = np.nan_to_num([[e.value for e in row] for row in shares])
        axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row, column in np.ndindex(table.shape):
            if not row == column == k:
                n = table[row, column]
                text = f"{n:,}{_percent(shares[row][column])}" if n else "0"
                colour = "white" if shown[row, column] > _DARK_SHARE else DARK
                points = 8.5 if k <= 4 else 7.0
                axes.text(column, row, text, ha="center", va="center", fontsize=points, color=colour)
        drawn = ", 95 % interval" if with_intervals(filled) else ""
        _name_cells(axes, [short(name, 14) for name in class_names], drawn)

    said = "; ".join(
        f"{name}: " + ", ".join(f"{n:,} {as_}" for as_, n in zip([*class_names, "missed"], line, strict=True))
        for name, line in zip([*class_names, "no nucleus"], table, strict=True)
        if line.any()
    )
    caption = (
        "Nuclei by true class (rows) and found class (columns), paired by centroids within 3 µm; the right column "
        "holds true nuclei that were missed, the bottom row what was found where there is none. Shares are of the "
        f"row{with_intervals(filled, ', below them their 95 % interval')}; "
        f"n = {counted(n_images, 'image')}."
    )
    size = max(_WIDTH, 1.6 + _ROOM * (k + 1)), max(2.8, 1.3 + 0.62 * (k + 1))
    return draw(paint, size_in=size, alt=f"{caption} {said}.", caption=caption)


def _percent(share: Estimate) -> str:
    if math.isnan(share.value):
        return ""
    interval = "" if math.isnan(share.low) else f"\n{100 * share.low:.0f} to {100 * share.high:.0f}"
    return f"\n{100 * share.value:.0f} %{interval}"


def _name_cells(axes: Axes, names: Sequence[str], interval: str) -> None:
    k = len(names)
    flat = k <= 3
    axes.set_xticks(range(k + 1), [*names, "missed"], rotation=0 if flat else 35, ha="center" if flat else "right")
    axes.set_yticks(range(k + 1), [*names, "no nucleus"])
    axes.tick_params(length=0)
    axes.set_xlabel(f"found as (number of nuclei, % of row{interval})")
    axes.set_ylabel("true class")
    for edge in np.arange(k) + 0.5:
        for line in (axes.axhline, axes.axvline):
            line(edge, color="white", linewidth=3 if edge == k - 0.5 else 1)
    axes.spines[:].set_visible(False)


def plot_reliability(calibration: CalibrationSummary | None, n_images: int) -> Plot | None:
    """Share of right classes by the probability they were stated with; None without probabilities or nuclei.

    Args:
        calibration: Calibration of one data set.
        n_images: Images behind the intervals.
    """
    if calibration is None or not calibration.n:
        return None
    filled = [b for b in calibration.bins if b.n]

    def paint(figure: Figure) -> None:
        curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        curve.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, zorder=1)
        for b in filled:
            if not math.isnan(b.accuracy.low):
                ends = [b.accuracy.low, b.accuracy.high]
                curve.plot([b.confidence] * 2, ends, color=COLOURS[0], linewidth=2, solid_capstyle="butt", zorder=2)
        x, y = [b.confidence for b in filled], [b.accuracy.value for b in filled]
        curve.plot(x, y, color=COLOURS[0], linewidth=0.8, zorder=2)
        for b in filled:
            face = COLOURS[0] if b.n >= _FEW else "white"
            curve.plot(b.confidence, b.accuracy.value, "o", color=COLOURS[0], markerfacecolor=face, zorder=3)
        curve.set_ylim(-0.02, 1.02)
        curve.set_ylabel("share that is right")
        curve.grid(True, color="#e2e4eb", linewidth=0.8)
        curve.set_title(
            f"calibration error {spoken(calibration.ece)}\nn = {counted(calibration.n, 'nucleus', 'nuclei')}",
            fontsize=9,
            loc="left",
        )
        edges = [b.low for b in calibration.bins]
        widths = [b.high - b.low for b in calibration.bins]
        counts.bar(edges, [b.n for b in calibration.bins], widths, align="edge", color="#9aa0b3", edgecolor="white")
        for b in filled:
            many = f"{b.n:,}" if b.n < 10_000 else f"{b.n / 1000:,.0f}k"
            counts.annotate(
                many, ((b.low + b.high) / 2, b.n), (0, 1), textcoords="offset points", ha="center", size=6.5
            )
        counts.set_ylim(0, 1.25 * max(b.n for b in filled))
        counts.set_ylabel("nuclei")
        counts.set_xlim(-0.02, 1.02)
        counts.set_xlabel("stated probability of the class")

    said = "; ".join(f"stated {b.confidence:.2f}, right {spoken(b.accuracy)}, n = {b.n:,}" for b in filled)
    caption = (
        "Of the detected nuclei whose class was stated with about the same probability, the share that is of that "
        f"class{with_intervals([b.accuracy for b in filled])}, on {counted(n_images, 'image')}; on the "
        "dashed line probabilities are right, "
        f"below it the model is too sure of itself. Hollow marks stand for fewer than {_FEW} nuclei; the bars "
        f"count the nuclei of each of the {len(calibration.bins)} bins. The calibration error is the mean distance "
        "from the line, by nuclei."
    )
    return draw(paint, size_in=(_WIDTH, 4.4), alt=f"{caption} {said}.", caption=caption)
