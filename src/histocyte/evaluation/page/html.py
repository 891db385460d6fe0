"""The report of an evaluation as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from histocyte.core.names import some_names
from histocyte.evaluation.image_scores import ImageScores
from histocyte.evaluation.page.class_plots import plot_confusion, plot_reliability
from histocyte.evaluation.page.gallery import MEASURE, Gallery, Side, Tile
from histocyte.evaluation.page.plots import (
    plot_classes,
    plot_counts,
    plot_image_quality,
    plot_perturbed,
    plot_sources,
    plot_strata,
)
from histocyte.evaluation.page.tiles import TilePicture, class_legend, mistake_legend, picture_of
from histocyte.evaluation.perturbed import PERTURBED_COLUMNS, PerturbedScores, perturbed_table
from histocyte.evaluation.report import Report
from histocyte.evaluation.summary import CLASS_SCORES, SCORES, SourceSummary
from histocyte.metrics.detection import RADIUS_UM
from histocyte.pages.page import check_html, embedded, write_page
from histocyte.pages.text import interval_text, number
from histocyte.statistics.bootstrap import FEW_GROUPS, Estimate

__all__ = ["write_html"]

_ANOTHER = "a class that is not scored"


_PAIRED = {
    "hovernet": "paired as HoVer-Net does: all by smallest summed distance, far pairs dropped",
    "max_cardinality": "paired so that there are as many pairs as can be",
}


def write_html(
    report: Report,
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str] = MappingProxyType({}),
    gallery: Gallery | None = None,
    perturbed: Sequence[PerturbedScores] = (),
) -> None:
    """Write the report, whole or not at all.

    Args:
        report: The scores.
        path: The file.
        title: Heading of the page.
        facts: What was scored, name → value, shown above the settings.
        gallery: The worst tiles, if images were kept for it.
        perturbed: Scores under changes to the images, if they were asked for.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        InputError: The path is a folder.
        DiskError: The file could not be written.
    """
    check_html(path)
    sources = _source_rows(report)
    by_source = {s: [row for row in report.images if row.info.source == s] for s in report.sources}
    write_page(
        path,
        __package__,
        "report.html.jinja",
        title=title,
        facts=[*facts.items(), *_settings(report).items()],
        sources=sources,
        ungrouped=any(row["ungrouped"] for row in sources),
        scored=list(report.sources),
        scores=_score_rows(report.sources),
        overview=[embedded(p) for p in (plot_sources(report.sources), plot_image_quality(by_source))],
        sections=[_section(report, summary, by_source[name]) for name, summary in report.sources.items()],
        gallery=None if gallery is None else _gallery(gallery, report),
        perturbed={
            "heads": PERTURBED_COLUMNS,
            "rows": perturbed_table(perturbed),
            "plots": [embedded(plot_perturbed(name, perturbed)) for name in report.sources],
        }
        if perturbed
        else None,
    )


def _settings(report: Report) -> dict[str, str]:
    return {
        "Intervals": f"95 %, bootstrap over patients or slides, {report.replicates:,} resamples, seed {report.seed}. "
        + FEW_GROUPS,
        "Detection": f"centroids within {RADIUS_UM:g} µm, {_PAIRED[report.mode]}",
    }


def _source_rows(report: Report) -> list[dict[str, object]]:
    grouped = {row.info.source for row in report.images if row.info.group not in ("", row.info.name)}
    rows: list[dict[str, object]] = []
    for name in dict.fromkeys((*report.sources, *report.skipped)):
        s, skipped = report.sources.get(name), f"{len(report.skipped.get(name, ())):,}"
        counts = ["0", "–", "–", "–"]
        if s is not None:
            groups = f"{s.n_groups:,}" if name in grouped else "–"
            counts = [f"{s.n_images:,}", groups, f"{s.n_truth:,}", f"{s.n_found:,}"]
        rows.append({"name": name, "cells": [*counts, skipped], "ungrouped": s is not None and name not in grouped})
    return rows


def _score_rows(sources: Mapping[str, SourceSummary]) -> list[dict[str, object]]:
    return [
        {"title": title, "about": about, "cells": [_cell(s.scores.get(key)) for s in sources.values()]}
        for key, (title, about) in SCORES.items()
        if any(key in s.scores for s in sources.values())
    ]


def _section(report: Report, summary: SourceSummary, rows: list[ImageScores]) -> dict[str, object]:
    typed = sum(row.classes is not None for row in rows)
    plots = (
        plot_classes(summary),
        plot_confusion(summary.confusion, report.names_of(summary.source), typed),
        plot_reliability(summary.calibration, typed),
        plot_counts(rows, summary),
        plot_strata(rows, replicates=report.replicates, seed=report.seed),
    )
    return {
        "name": summary.source,
        "class_titles": list(CLASS_SCORES.values()),
        "classes": [
            {
                "name": c.name,
                "n_truth": f"{c.n_truth:,}",
                "n_found": f"{c.n_found:,}",
                "cells": [_cell(getattr(c, key)) for key in CLASS_SCORES],
            }
            for c in summary.classes
        ],
        "plots": [embedded(p) for p in plots if p is not None],
        **_by_image(rows),
    }


def _by_image(rows: list[ImageScores]) -> dict[str, object]:
    """Heads and rows of the table of images, the worst first."""
    facts = [key for key in ("group", "stratum") if any(getattr(row.info, key) for row in rows)]
    scores = {"bPQ": "bpq", "AJI": "aji", "Dice": "dice", **({"mPQ": "mpq"} if any(r.classes for r in rows) else {})}
    titles = {"group": "patient or slide", "stratum": "tissue"}
    ordered = sorted(rows, key=lambda row: (math.isnan(row.bpq), row.bpq, row.info.name))
    return {
        "image_heads": ["image", *(titles[f] for f in facts), "true", "found", *scores, "detection F1"],
        "images": [
            [
                row.info.name,
                *(getattr(row.info, key) or "–" for key in facts),
                f"{row.n_truth:,}",
                f"{row.n_found:,}",
                *(number(float(getattr(row, key)), 3) for key in scores.values()),
                number(float(row.detection.f1), 3),
            ]
            for row in ordered
        ],
    }


def _gallery(gallery: Gallery, report: Report) -> dict[str, object]:
    class_names = [*report.class_names, _ANOTHER]
    tiles = [_in_all_classes(tile, report) for tile in gallery.tiles()]
    by_source: dict[str, list[TilePicture]] = {}
    for tile in tiles:
        by_source.setdefault(tile.info.source, []).append(picture_of(tile, class_names))
    return {
        "measure": MEASURE,
        "bare": _without_picture(tiles),
        "mistakes": mistake_legend(),
        "classes": class_legend(tiles, class_names),
        "sources": [{"name": name, "tiles": pictures} for name, pictures in by_source.items()],
    }


def _in_all_classes(tile: Tile, report: Report) -> Tile:
    """A tile whose types are numbers of the classes of all data sets, and of one more for none of them."""
    names = list(report.class_names)
    own = [names.index(name) + 1 for name in report.names_of(tile.info.source)]
    into = np.array([0, *own, len(names) + 1], np.int64)

    def side(one: Side) -> Side:
        return one if one.types is None else replace(one, types=into[one.types])

    return replace(tile, truth=side(tile.truth), found=side(tile.found))


def _without_picture(tiles: Sequence[Tile]) -> str:
    """Why tiles show outlines alone, where any does."""
    bare = list(dict.fromkeys(tile.info.name for tile in tiles if tile.image is None))
    if not bare:
        return ""
    which = "these images" if len(bare) == len({tile.info.name for tile in tiles}) else some_names(bare)
    return f"There was no picture beside the true cells of {which}: outlines stand on grey."


def _cell(e: Estimate | None) -> dict[str, str]:
    if e is None:
        return {"value": "–", "interval": "not scored", "n": "0"}
    return {"value": number(e.value), "interval": interval_text(e), "n": f"{e.n:,}"}
