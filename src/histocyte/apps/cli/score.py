"""`histocyte score`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histocyte.evaluation.files.pairs import TrueImage
    from histocyte.evaluation.files.score import FileScores
    from histocyte.evaluation.page.gallery import Gallery
    from histocyte.evaluation.report import Report

__all__ = ["score"]


def score(
    predictions: Annotated[Path, typer.Argument(help="File of found cells, or a folder of them.", show_default=False)],
    truth: Annotated[Path, typer.Argument(help="File of true cells, or a folder of them.", show_default=False)],
    mpp: Annotated[float | None, typer.Option(help="µm/px of images of a set that is not known by name.")] = None,
    origin: Annotated[
        str | None, typer.Option(help="X,Y of the truth's first pixel, if it is a crop of the image.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="true=found,…: names or codes of the found classes; needed unless they agree.")
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
    from histocyte.apps.cli.output import print_json, print_table, say_note
    from histocyte.evaluation.files.pairs import pair_files, true_images
    from histocyte.files.writable import check_file

    gallery = None
    check_file(csv, example="scores.csv")
    if html is not None:
        from histocyte.evaluation.page.gallery import Gallery
        from histocyte.pages.page import check_html

        check_html(html)
        gallery = Gallery(worst=12)
    corner = _corner(origin)
    images = true_images(truth)
    if corner is not None and len(images) != 1:
        raise typer.BadParameter(f"--origin {origin} is for one crop, and '{truth}' has {len(images)} files.")
    files = pair_files(predictions, images, truth)
    pairs = list(zip(files, images, strict=True))
    report, rows = _score(pairs, classes, no_classes, mpp, corner, gallery, as_json)
    known = _known(pairs, mpp)
    if csv is not None:
        report.write_csv(csv)
    if html is not None:
        from histocyte.evaluation.page.html import write_html

        facts = {"Predictions": str(predictions), "Truth": str(truth)} | ({"Notes": n} if (n := _notes(rows)) else {})
        title = f"{predictions.name} on {', '.join(report.sources)}"
        write_html(report, html, title=title, facts=facts, gallery=gallery)
    if as_json:
        about = {"predictions": str(predictions), "truth": str(truth), "files": [row.to_json() for row in rows]}
        print_json({**about, "known_images": known, **report.to_json()})
        return
    columns = ("data set", "score", "value", "95 % interval", "images")
    print_table(f"{predictions.name}", columns, [tuple(row) for row in report.table()])
    for note in report.interval_notes():
        say_note(note)
    if learnt := len(known["learnt"]):
        say_note(
            f"The model that found these cells has learnt from {learnt} of the {len(images)} images, so scores on them "
            "say nothing of how good it is."
        )
    if notes := _notes(rows):
        from histocyte.apps.cli.output import say

        say(notes)


def _known(pairs: Sequence[tuple[Path, TrueImage]], mpp: float | None) -> dict[str, list[dict[str, str]]]:
    """The images that the model had to do with, by what that was, as far as results say."""
    from histocyte.results.history import known_to_its_model

    found: dict[str, list[dict[str, str]]] = {"learnt": [], "held_out": [], "left_out": []}
    for path, image in pairs:
        info = image.info(mpp)
        if standing := known_to_its_model(path, image, info.mpp):
            found[standing.name.lower()].append({"source": info.source, "name": info.name, "by": "content"})
    return found


def _corner(origin: str | None) -> tuple[int, int] | None:
    if origin is None:
        return None
    try:
        x, y = map(int, origin.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--origin {origin}: needed is X,Y in whole pixels, such as 2048,1024.") from error
    return x, y


def _score(
    pairs: list[tuple[Path, TrueImage]],
    classes: str | None,
    no_classes: bool,
    mpp: float | None,
    origin: tuple[int, int] | None,
    gallery: Gallery | None,
    quiet: bool,
) -> tuple[Report, list[FileScores]]:
    from histocyte.apps.cli.output import console, progress_bar
    from histocyte.evaluation.files.classes import ClassMap
    from histocyte.evaluation.files.pairs import class_names_of, picture_of
    from histocyte.evaluation.files.score import score_file
    from histocyte.evaluation.protocol import report_of
    from histocyte.formats.foreign.open import open_cells

    skipped: dict[str, list[str]] = {}
    for _, image in pairs:
        if image.card is not None and not image.card.separable:
            skipped.setdefault(image.card.name, []).append(image.name)
    pairs = [(path, image) for path, image in pairs if image.card is None or image.card.separable]
    names = () if no_classes else class_names_of([image for _, image in pairs])
    into = ClassMap.parse(None if no_classes else classes, names)
    rows = []
    with progress_bar("images", hidden=quiet or not console().is_terminal) as bar:
        task = bar.add_task("scoring", total=len(pairs), note="")
        for path, image in pairs:
            row = score_file(open_cells(path), image, into, mpp=mpp, origin=origin)
            if gallery is not None:
                gallery.add(picture_of(image.picture), row.truth, row.found, row.scores)
            rows.append(row.light())
            bar.advance(task)
    if rows and not any(row.has_classes for row in rows) and any(row.scores.n_found for row in rows):
        rows = [replace(row, scores=replace(row.scores, classes=None)) for row in rows]
    return report_of([row.scores for row in rows], names, skipped=skipped), rows


def _notes(rows: list[FileScores]) -> str:
    """What a reader must know of the files beside the scores, in sentences."""
    said = (
        ("n_hidden", "found cells lie wholly under others or repeat them, and count as false finds"),
        ("n_without_class", "found cells have no class, and count as not found in the scores of classes"),
        ("n_outside", "found cells lie outside the crop"),
        ("n_true_hidden", "true cells lie wholly under others, and are not scored"),
    )
    sentences = []
    for key, text in said:
        counts = {row.scores.info.name: getattr(row, key) for row in rows if getattr(row, key)}
        if counts:
            worst = sorted(counts, key=lambda name: -counts[name])[:5]
            named = ", ".join(f"{name} {counts[name]:,}" for name in worst)
            more = f" and {len(counts) - 5} more images" if len(counts) > 5 else ""
            sentences.append(f"{sum(counts.values()):,} {text} ({named}{more}).")
    of_files = list(dict.fromkeys(note for row in rows for note in row.notes))
    sentences += of_files[:5] + ([f"{len(of_files) - 5} more notes are in --json."] if len(of_files) > 5 else [])
    return " ".join(sentences)
