"""The encoder study as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from histocyte.pages.page import write_page
from histocyte.pages.text import estimate_text
from histocyte.runs.studies.encoders.run import Failure
from histocyte.runs.studies.encoders.scores import SCORES
from histocyte.runs.studies.encoders.table import NO_INTERVAL, SEEDS, Table
from histocyte.runs.studies.encoders.weights import Ready

__all__ = ["write_study_page"]


def write_study_page(
    path: Path,
    table: Table,
    plots: Mapping[str, bytes],
    failures: Sequence[Failure],
    ready: Sequence[tuple[Ready, str]],
    settings: Mapping[str, Any],
) -> None:
    """Write the page; it needs no other file.

    Args:
        path: Path of the page.
        table: Table of the study.
        plots: SVGs by name.
        failures: Runs without scores.
        ready: Encoders without weights, each with its command.
        settings: Settings of the study.

    Raises:
        MissingExtraError: jinja2 is not installed.
        DiskError: The page could not be written.
    """
    shown = [key for key in SCORES if any(key in row.scores for row in table.rows)]
    by_source = [
        (
            source,
            [
                (row.label, row.taps, *(estimate_text(row.scores.get(key, {}).get(source)) for key in shown))
                for row in table.rows
            ],
        )
        for source in table.sources
    ]
    write_page(
        path,
        __package__,
        "study.html.jinja",
        table=table,
        settings=settings,
        scores=[SCORES[key] for key in shown],
        about_seeds=SEEDS,
        no_interval=NO_INTERVAL,
        by_source=by_source,
        images=[(name, base64.b64encode(svg).decode()) for name, svg in plots.items()],
        failures=failures,
        ready=ready,
    )
