"""Scoring files of cells against true ones as one call, for Python and for `histocyte score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from histocyte.core.listener import SILENT, Listener, Stop, Stopped, never
from histocyte.core.names import counted
from histocyte.runs.arguments import PathLike

if TYPE_CHECKING:
    from histocyte.core.compared import ComparedClasses
    from histocyte.evaluation.files.pairs import TrueImage
    from histocyte.evaluation.files.score import FileScores
    from histocyte.runs.scoring.reports import FileReport

__all__ = ["score"]

_WORST_TILES = 12


def score(
    predictions: PathLike,
    truth: PathLike,
    *,
    mpp: float | None = None,
    origin: tuple[int, int] | None = None,
    classes: str | Mapping[str, str] | None = None,
    with_classes: bool = True,
    html: PathLike | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> FileReport:
    """Score the cells that any program has found against true ones, with 95 % intervals.

    Either side may be GeoJSON, JSON of HoVer-Net or CellViT, .mat of HoVer-Net, label maps or a result of segment. In
    folders, files of the same name go together.

    >>> import histocyte as hc
    >>> report = hc.score("hovernet/json", "data/consep", classes={"2": "inflammatory"})   # doctest: +SKIP
    >>> report.write_csv("scores.csv")                                                     # doctest: +SKIP

    Args:
        predictions: File of found cells, or a folder of them.
        truth: File of true cells, or a folder of them.
        mpp: Resolution of images of a set that is not known by name, µm/px.
        origin: (x, y) of the truth's first pixel, if it is a crop of the image.
        classes: Found class → true class, or "true=found,…"; needed unless their names agree or both are known lists
            (`core.taxonomies`), which are read as each other.
        with_classes: Whether classes are scored beside detection and outlines.
        html: File to write a page with plots to.
        listener: Is told how it goes on; nobody where None.
        stop: Asked after each file whether to end there; never where None.

    Returns:
        The report: `sources` with scores and intervals by data set, `table()`, `to_json()`, `write_csv(path)`.

    Raises:
        InputError: Files that cannot be read, do not go together, or have classes that go nowhere.
        MissingExtraError: What the page needs is not installed.
        Stopped: `stop` said so.
    """
    from histocyte.core.errors import InputError
    from histocyte.evaluation.files.classes import ClassMap
    from histocyte.evaluation.files.pairs import class_names_of, pair_files, picture_of, true_images
    from histocyte.evaluation.files.score import score_file
    from histocyte.evaluation.page.gallery import Gallery
    from histocyte.evaluation.protocol import report_of
    from histocyte.formats.foreign.open import open_cells
    from histocyte.runs.scoring.reports import FileReport

    found, true = Path(predictions), Path(truth)
    page, asked, gallery = None if html is None else Path(html), stop or never, Gallery(worst=_WORST_TILES)
    if page is not None:
        from histocyte.pages.page import check_html

        check_html(page)
    images = true_images(true)
    if origin is not None and len(images) != 1:
        x, y = origin
        raise InputError(f"--origin {x},{y} is for one crop, and '{true}' has {counted(len(images), 'file')}.")
    pairs = list(zip(pair_files(found, images, true), images, strict=True))
    skipped: dict[str, list[str]] = {}
    for _, image in pairs:
        if image.card is not None and not image.card.separable:
            skipped.setdefault(image.card.name, []).append(image.name)
    scored = [(path, image) for path, image in pairs if image.card is None or image.card.separable]
    names = class_names_of([image for _, image in scored]) if with_classes else ()
    both = _compared(names, [path for path, _ in scored]) if classes is None else None
    said = classes if classes is None or isinstance(classes, str) else ",".join(f"{t}={f}" for f, t in classes.items())
    into = ClassMap.parse(said if with_classes else None, names) if both is None else ClassMap.of(both)
    rows: list[FileScores] = []
    with (SILENT if listener is None else listener).task("scoring", len(scored), unit="images") as task:
        for path, image in scored:
            row = score_file(open_cells(path), image, into, mpp=mpp, origin=origin)
            if page is not None:
                gallery.add(picture_of(image.picture), row.truth, row.found, row.scores)
            rows.append(row.light())
            task.advance()
            if asked():
                raise Stopped(f"{len(rows)} of {counted(len(scored), 'file')} scored")
    if rows and not any(row.has_classes for row in rows) and any(row.scores.n_found for row in rows):
        rows = [replace(row, scores=replace(row.scores, classes=None)) for row in rows]
    sources = dict.fromkeys(row.scores.info.source for row in rows)
    compared = {} if both is None else dict.fromkeys(sources, both)
    report = report_of([row.scores for row in rows], names, compared=compared, skipped=skipped)
    notes = (*([] if both is None else both.sentences("the truth")), *_notes(rows))
    if page is not None:
        from histocyte.evaluation.page.html import write_html

        facts = {"Predictions": str(found), "Truth": str(true)} | ({"Notes": " ".join(notes)} if notes else {})
        write_html(report, page, title=f"{found.name} on {', '.join(report.sources)}", facts=facts, gallery=gallery)
    return FileReport.of(
        report,
        title=found.name,
        facts={"predictions": str(found), "truth": str(true)},
        files=rows,
        known_images=_known(pairs, mpp),
        notes=notes,
    )


def _compared(names: Sequence[str], files: Sequence[Path]) -> ComparedClasses | None:
    """What is compared where the truth's list and the files' are both known and differ; None where names decide."""
    from histocyte.core.compared import compared_classes
    from histocyte.core.taxonomies import known_list
    from histocyte.evaluation.files.classes import names_in
    from histocyte.formats.foreign.open import open_cells

    truth = known_list(names)
    if truth is None:
        return None
    found: dict[str, str] = {}
    for path in files:
        for name in names_in(open_cells(path)):
            found.setdefault(name.lower(), name)
    known = known_list(list(found.values()))
    return None if known is None or known is truth else compared_classes(truth, known)


def _known(pairs: Sequence[tuple[Path, TrueImage]], mpp: float | None) -> dict[str, list[dict[str, str]]]:
    """The images that the model had to do with, by what that was, as far as results say."""
    from histocyte.runs.scoring.known import known_to_its_model

    found: dict[str, list[dict[str, str]]] = {"learnt": [], "held_out": [], "left_out": []}
    for path, image in pairs:
        info = image.info(mpp)
        if standing := known_to_its_model(path, image, info.mpp):
            found[standing.name.lower()].append({"source": info.source, "name": info.name, "by": "content"})
    return found


def _notes(rows: list[FileScores]) -> tuple[str, ...]:
    """What a reader must know of the files beside the scores, in sentences."""
    said = (
        (
            "n_hidden",
            "found cell lies wholly under others or repeats them, and counts as a false find",
            "found cells lie wholly under others or repeat them, and count as false finds",
        ),
        (
            "n_without_class",
            "found cell has no class, and counts as not found in the scores of classes",
            "found cells have no class, and count as not found in the scores of classes",
        ),
        ("n_outside", "found cell lies outside the crop", "found cells lie outside the crop"),
        (
            "n_true_hidden",
            "true cell lies wholly under others, and is not scored",
            "true cells lie wholly under others, and are not scored",
        ),
    )
    sentences = []
    for key, one, several in said:
        counts = {row.scores.info.name: getattr(row, key) for row in rows if getattr(row, key)}
        if counts:
            worst = sorted(counts, key=lambda name: -counts[name])[:5]
            named = ", ".join(f"{name} {counts[name]:,}" for name in worst)
            more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
            sentences.append(f"{counted(sum(counts.values()), one, several)} ({named}{more}).")
    of_files = list(dict.fromkeys(note for row in rows for note in row.notes))
    sentences += of_files[:5] + ([f"All {len(of_files)} such notes: --json."] if len(of_files) > 5 else [])
    return tuple(sentences)
