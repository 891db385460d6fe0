"""The plots of a report. Each says in words what it shows, and none relies on colour alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from histocyte.core.names import counted
from histocyte.evaluation.image_scores import ImageScores
from histocyte.evaluation.perturbed import PerturbedScores
from histocyte.evaluation.summary import SourceSummary
from histocyte.pages.drawing import (
    COLOURS,
    DARK,
    MUTED,
    Plot,
    draw,
    draw_intervals,
    rasterised,
    short,
    spoken,
    with_intervals,
)
from histocyte.statistics.bootstrap import LEAST_UNITS, Estimate, bootstrap_weights, estimate_each, weighted_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_classes",
    "plot_counts",
    "plot_image_quality",
    "plot_perturbed",
    "plot_sources",
    "plot_strata",
]

_WIDTH = 5.6
"""Inches of every plot: text of 10 pt stays readable where the page is as narrow as a phone."""

_MANY_PANELS = 6
"""From more panels on they lie four in a row, in a broad plot."""

Series = Sequence[tuple[str, Sequence[Estimate | None]]]


def plot_sources(sources: Mapping[str, SourceSummary]) -> Plot:
    """PQ of each data set with its interval: bPQ, and mPQ where there are classes."""
    titles = {"bpq": "bPQ", "mpq": "mPQ"}
    series = [
        (title, [s.scores.get(key) for s in sources.values()])
        for key, title in titles.items()
        if any(key in s.scores for s in sources.values())
    ]
    labels = [f"{short(name)}\nn = {counted(s.n_images, 'image')}" for name, s in sources.items()]
    return _interval_plot(
        labels,
        series,
        "panoptic quality (0 to 1, higher is better)",
        f"Panoptic quality of each data set, mean over images{_with_intervals(series)}.",
    )


def plot_strata(rows: Sequence[ImageScores], *, replicates: int, seed: int) -> Plot | None:
    """PQ within each stratum (tissue) of one data set with its interval; None without strata."""
    names = sorted({row.info.stratum for row in rows} - {""})
    if not names:
        return None
    weights = bootstrap_weights([row.info.group for row in rows], replicates=replicates, seed=seed)
    inside = np.array([[row.info.stratum == name for name in names] for row in rows])
    series: list[tuple[str, Sequence[Estimate | None]]] = []
    for key, title in (("bpq", "bPQ"), ("mpq", "mPQ")):
        values = np.where(inside, np.array([getattr(row, key) for row in rows])[:, None], np.nan)
        if not np.isnan(values).all():
            series.append((title, estimate_each(weighted_mean(values), weights, defined=~np.isnan(values))))
    labels = [
        f"{short(name)}\nn = {counted(n, 'image')}" for name, n in zip(names, inside.sum(axis=0).tolist(), strict=True)
    ]
    return _interval_plot(
        labels,
        series,
        "panoptic quality (0 to 1, higher is better)",
        f"Panoptic quality within each tissue, mean over its images{_with_intervals(series)}.",
    )


def plot_classes(summary: SourceSummary) -> Plot | None:
    """PQ and F1 of each class with their intervals; None without classes."""
    if not summary.classes:
        return None
    labels = [f"{short(c.name)}\nn = {counted(c.n_truth, 'nucleus', 'nuclei')}" for c in summary.classes]
    series: Series = [
        ("PQ, pooled", [c.pq for c in summary.classes]),
        ("F1", [c.f1 for c in summary.classes]),
    ]
    return _interval_plot(
        labels,
        series,
        "score (0 to 1, higher is better)",
        f"PQ and F1 (HoVer-Net's definition) of each class from counts summed over {summary.n_images} "
        f"image{'s' * (summary.n_images != 1)}{_with_intervals(series)}; n is the number of true nuclei of the class.",
    )


def plot_perturbed(source: str, rows: Sequence[PerturbedScores]) -> Plot:
    """bPQ, detection F1 and mean F1 of the classes of a data set under each change to its images."""
    mine = [row for row in rows if row.source == source]
    titles = {"bpq": "bPQ", "f1": "detection F1", "class_f1": "class F1"}
    series = [
        (title, [row.scores.get(key) for row in mine])
        for key, title in titles.items()
        if any(key in row.scores for row in mine)
    ]
    labels = ["as it is" if row.kind == "none" else row.name for row in mine]
    return _interval_plot(
        labels,
        series,
        "score (0 to 1, higher is better)",
        f"{source} under changes to its images{_with_intervals(series)}. Class F1 is the mean of the classes'.",
    )


def _with_intervals(series: Series) -> str:
    """What a caption says of the intervals that are there."""
    return with_intervals([e for _, estimates in series for e in estimates])


def _interval_plot(labels: Sequence[str], series: Series, xlabel: str, caption: str) -> Plot:
    height = 0.95 + len(labels) * (0.3 + 0.16 * max(1, len(series)))
    said = "; ".join(
        f"{label.replace(chr(10), ', ')}: " + ", ".join(f"{title} {spoken(values[i])}" for title, values in series)
        for i, label in enumerate(labels)
    )

    def paint(figure: Figure) -> None:
        draw_intervals(figure.subplots(), labels, series, xlabel=xlabel)

    return draw(paint, size_in=(_WIDTH, height), alt=f"{caption} {said}.", caption=caption)


def plot_counts(rows: Sequence[ImageScores], summary: SourceSummary) -> Plot:
    """Nuclei found against true ones, a point an image: all together and by class."""
    panels = [
        (
            "all nuclei",
            np.array([row.n_truth for row in rows]),
            np.array([row.n_found for row in rows]),
            summary.scores.get("r2_total"),
        )
    ]
    parts = [row.classes for row in rows if row.classes is not None]
    for i, c in enumerate(summary.classes):
        panels.append((c.name, np.array([p.n_truth[i] for p in parts]), np.array([p.n_found[i] for p in parts]), c.r2))
    columns = 4 if len(panels) > _MANY_PANELS else min(2, len(panels))
    lines = -(-len(panels) // columns)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for i, (axes, (title, truth, found, r2)) in enumerate(zip(grid, panels, strict=False)):
            _scatter(axes, truth, found)
            axes.set_title(f"{short(title, 26)}\nR² {spoken(r2)}", fontsize=9, loc="left")
            axes.set_xlabel("true nuclei per image")
            axes.set_ylabel("found nuclei per image" if i % columns == 0 else "found")
        for axes in grid[len(panels) :]:
            axes.set_visible(False)

    caption = (
        f"Nuclei per image, a point an image (n = {summary.n_images}); on the dashed line the count is right. R² is "
        "that of the line, so it is below 0 where the mean true count would be the better guess; in brackets its "
        f"95 % interval, left out with fewer than {LEAST_UNITS} patients or images, or where few have the class."
    )
    said = "; ".join(
        f"{title}: {truth.sum():,} true, {found.sum():,} found, R² {spoken(r)}" for title, truth, found, r in panels
    )
    size = (4.2, 3.6) if columns == 1 else (_WIDTH * columns / 2, 3.0 * lines)
    return draw(paint, size_in=size, alt=f"{caption} {said}.", caption=caption)


def _scatter(axes: Axes, truth: NDArray[np.integer], found: NDArray[np.integer]) -> None:
    most = 1.06 * max(1, int(truth.max(initial=0)), int(found.max(initial=0)))
    axes.plot([0, most], [0, most], "--", color=MUTED, linewidth=1, zorder=1)
    axes.plot(
        truth,
        found,
        "o",
        color=COLOURS[0],
        alpha=0.55,
        markersize=4.5,
        markeredgewidth=0,
        zorder=2,
        rasterized=rasterised(truth),
    )
    axes.set_xlim(-0.02 * most, most)
    axes.set_ylim(-0.02 * most, most)
    axes.set_aspect("equal")
    axes.locator_params(integer=True, nbins=5)


def plot_image_quality(by_source: Mapping[str, Sequence[ImageScores]]) -> Plot:
    """How bPQ is spread over the images of each data set: every image, median and quartiles."""
    values = {name: np.array([row.bpq for row in rows], np.float64) for name, rows in by_source.items()}
    values = {name: np.sort(v[~np.isnan(v)]) for name, v in values.items()}

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for y, v in enumerate(values.values()):
            # Spread evenly, the same each time: the golden ratio fills a line without clumps.
            jitter = (np.arange(len(v)) * 0.618034) % 1 * 0.4 - 0.2
            axes.plot(
                v,
                y + jitter,
                "o",
                color=COLOURS[0],
                alpha=0.5,
                markersize=4.5,
                markeredgewidth=0,
                rasterized=rasterised(v),
                zorder=2,
            )
            if len(v):
                low, middle, high = np.quantile(v, [0.25, 0.5, 0.75])
                axes.barh(y, high - low, 0.56, low, facecolor="none", edgecolor=DARK, linewidth=1.2, zorder=3)
                axes.plot([middle, middle], [y - 0.28, y + 0.28], color=DARK, linewidth=2.5, zorder=4)
        labels = [f"{short(name)}\nn = {counted(len(v), 'image')}" for name, v in values.items()]
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.xaxis.grid(True, color="#e2e4eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("bPQ of an image (0 to 1, higher is better)")

    said = "; ".join(f"{name}: {_quartiles(v)}" for name, v in values.items())
    caption = "bPQ of every image with true nuclei (points), with median (thick line) and quartiles (box)."
    return draw(paint, size_in=(_WIDTH, 0.9 + 0.75 * len(values)), alt=f"{caption} {said}.", caption=caption)


def _quartiles(values: NDArray[np.float64]) -> str:
    if not len(values):
        return "no image with true nuclei"
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"median {middle:.2f}, quartiles {low:.2f} and {high:.2f}, n = {len(values)}"
