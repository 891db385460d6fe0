"""`histocyte counts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["counts"]


def counts(
    result: Annotated[
        Path,
        typer.Argument(help="Result folder of 'segment', a cells.parquet, or a GeoJSON of cells.", show_default=False),
    ],
    roi: Annotated[Path | None, typer.Option(help="GeoJSON from QuPath: count in each of its polygons.")] = None,
    grid_um: Annotated[float, typer.Option(help="Side of the squares behind the intervals, µm.")] = 250.0,
    mpp: Annotated[float | None, typer.Option(help="µm/px of the slide, for a GeoJSON file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the counts to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Count cells per class and per mm², with 95 % intervals.

    Densities are per mm² of the tissue that was searched, or of that part of each region in --roi.

    Example: histocyte counts out/slide --roi regions.geojson
    """
    from histocyte.apps.cli.output import print_json, print_table, say
    from histocyte.evaluation.counts import count_cells

    found = count_cells(result, roi=roi, grid_um=grid_um, mpp=mpp)
    if csv is not None:
        found.write_csv(csv)
    if as_json:
        print_json(found.to_json())
        return
    for title, rows in found.tables():
        print_table(title, ("class", "cells", "per mm²", "95 % interval"), rows)
    for note in found.notes:
        say(note)
