"""`histocyte counts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from histocyte.counts.agreement import CountAgreement
    from histocyte.counts.result import Counts

__all__ = ["counts"]

_MOST_ROWS = 200
"""Nobody reads on in a terminal."""


def counts(
    result: Annotated[
        Path,
        typer.Argument(help="Result folder of 'segment', a cells.parquet, or a GeoJSON of cells.", show_default=False),
    ],
    other: Annotated[
        Path | None, typer.Argument(help="Another result of the same slide, to compare.", show_default=False)
    ] = None,
    roi: Annotated[Path | None, typer.Option(help="GeoJSON from QuPath: count in each of its polygons.")] = None,
    grid_um: Annotated[float, typer.Option(help="Side of the squares that intervals are computed from, µm.")] = 250.0,
    mpp: Annotated[float | None, typer.Option(help="µm/px of the slide, for a GeoJSON file.")] = None,
    same_slide: Annotated[
        bool, typer.Option("--same-slide", help="Compare even where the files say they are of different slides.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the counts to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with tables and plots to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Count cells per class and per mm², or compare the counts of two results, with 95 % intervals.

    Densities are per mm² of the tissue that was searched, or of that part of each region in --roi. Two results of one
    slide are compared square by square, or region by region.

    Example: histocyte counts out/slide --roi regions.geojson
    """
    from histocyte.apps.cli.output import print_json, print_table, say
    from histocyte.counts.agreement import compare_counts
    from histocyte.counts.count import count_cells
    from histocyte.files.writable import check_file

    check_file(csv, example="counts.csv")
    if html is not None:
        from histocyte.pages.page import check_html

        check_html(html)
    if other is None:
        found: Counts | CountAgreement = count_cells(result, roi=roi, grid_um=grid_um, mpp=mpp)
    else:
        found = compare_counts(result, other, roi=roi, grid_um=grid_um, mpp=mpp, same_slide=same_slide)
    if csv is not None:
        found.write_csv(csv)
    if html is not None:
        from histocyte.counts.page import write_counts_html

        write_counts_html(found, html)
    if as_json:
        print_json(found.to_json())
        return
    for title, rows in found.tables(most=_MOST_ROWS):
        print_table(title, found.columns, rows)
    if found.columns[0] == "region":
        say("The classes of each region, and regions beyond those shown, are in --csv FILE and --json.")
    for note in found.notes:
        say(note)
