"""`histocyte score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histocyte.core.names import counted
from histocyte.runs.scoring.score import score as score_files

__all__ = ["score"]


def score(
    predictions: Annotated[Path, typer.Argument(help="File of found cells, or a folder of them.", show_default=False)],
    truth: Annotated[Path, typer.Argument(help="File of true cells, or a folder of them.", show_default=False)],
    mpp: Annotated[
        float | None, typer.Option(help="Resolution of the images in µm/px, for sets not known by name.")
    ] = None,
    origin: Annotated[
        str | None, typer.Option(help="X,Y of the truth's first pixel, if it is a crop of the image.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="true=found,…: names or codes of found classes; needed unless they agree or lists are known."
        ),
    ] = None,
    no_classes: Annotated[bool, typer.Option("--no-classes", help="Score detection and outlines alone.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the scores of each image to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Score another program's cells against true ones, with 95 % intervals.

    Either side may be GeoJSON, JSON of HoVer-Net or CellViT, .mat of HoVer-Net, label maps (.png, .tif, .npy, .npz)
    or a result of segment. In folders, files of the same name go together.

    Example: histocyte score hovernet/json data/consep --classes inflammatory=2,epithelial=1,spindle=3,other=4
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, print_table, say, say_note
    from histocyte.files.writable import check_file

    check_file(csv, example="scores.csv")
    report = score_files(
        predictions,
        truth,
        mpp=mpp,
        origin=_corner(origin),
        classes=classes,
        with_classes=not no_classes,
        html=html,
        listener=people(bars=not as_json),
    )
    if csv is not None:
        report.write_csv(csv)
    if as_json:
        print_json(report.to_json())
        return
    columns = ("data set", "score", "value", "95 % interval", "images")
    print_table(report.title, columns, [tuple(row) for row in report.table()])
    for note in report.interval_notes():
        say_note(note)
    if learnt := len(report.known_images["learnt"]):
        every = len(report.files) + sum(map(len, report.skipped.values()))
        say_note(
            f"The model that found these cells has learnt from {learnt} of the {counted(every, 'image')}, so scores "
            "on them say nothing of how good it is."
        )
    if report.notes:
        say(" ".join(report.notes))


def _corner(origin: str | None) -> tuple[int, int] | None:
    if origin is None:
        return None
    try:
        x, y = map(int, origin.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--origin {origin}: needed is X,Y in whole pixels, such as 2048,1024.") from error
    return x, y
