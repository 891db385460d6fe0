"""`histocyte evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histocyte.datasets.sample import Sample
    from histocyte.evaluation.image_scores import ImageScores
    from histocyte.inference.load import Model
    from histocyte.model.history import History, Known

__all__ = ["Split", "evaluate"]


class Split(StrEnum):
    """Which images of a set are scored."""

    UNSEEN = "unseen"
    TEST = "test"
    ALL = "all"


def evaluate(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a model file.", show_default=False)],
    data: Annotated[list[Path], typer.Argument(help="Folders of labelled images.", show_default=False)],
    split: Annotated[
        Split,
        typer.Option(
            help="unseen: what the model was not trained on. test: of that, what it was not chosen by either (`train "
            "--leave-out`, and sets it has nothing of). all: every image."
        ),
    ] = Split.UNSEEN,
    images: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text file with a name of an image in each line: these alone are scored."),
    ] = None,
    mpp: Annotated[float | None, typer.Option(help="µm/px of images of a set that is not known by name.")] = None,
    runtime: Annotated[str, typer.Option(help="auto, openvino, torch, onnxruntime.")] = "auto",
    device: Annotated[str, typer.Option(help="For torch: auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="For OpenVINO: f32, bf16 (quicker, where the CPU can), or auto, the quickest there is."),
    ] = None,
    views: Annotated[
        int,
        typer.Option(help="Average over this many flips and turns of each tile: 1, 2, 4 or 8. As many times slower."),
    ] = 1,
    classifier: Annotated[
        Path | None,
        typer.Option(help="Classes of this file (`histocyte train classifier`) in place of the model's; needs torch."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="With --classifier: names of the data's classes 1, 2, …, by commas; else its classes.json."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the scores of each image to this file.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a report with plots and the worst tiles to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Score a model on labelled images, with 95 % intervals.

    Images that the model was trained on are left out, unless asked for with --split all.

    Example: histocyte evaluate hover-unet-consep data/monuseg --json
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import (
        precision_name,
        print_json,
        print_table,
        progress_bar,
        runtime_name,
        say,
        say_note,
    )
    from histocyte.core.errors import InputError
    from histocyte.datasets.folder import load_folders
    from histocyte.datasets.name_list import named_samples, read_name_list
    from histocyte.datasets.own_classes import load_for_taxonomy
    from histocyte.evaluation.page.gallery import Gallery, watched
    from histocyte.evaluation.protocol import evaluate as score
    from histocyte.files.writable import check_file
    from histocyte.inference.classifier import load_classifier
    from histocyte.inference.load import load
    from histocyte.model.history import known_by_standing
    from histocyte.pipeline import instances_on
    from histocyte.runs.labelled import check_labelled, say_notes, say_other_classes, say_unpaired

    check_file(csv, example="scores.csv")
    if html is not None:
        from histocyte.pages.page import check_html

        check_html(html)
    check_labelled(data, mpp=mpp, learn=False)
    if classes is not None and classifier is None:
        raise InputError("--classes names the data's classes for a classifier: pass --classifier FILE with it.")
    listed = None if images is None else read_name_list(images)
    other = None if classifier is None else load_classifier(classifier)
    runtime = "torch" if other and runtime == "auto" else runtime
    loaded = load(model, runtime=runtime_name(runtime), device=device, precision=precision_name(precision), views=views)
    if other is None:
        samples = load_folders(data, taxonomy=loaded.taxonomy, mpp=mpp)
        say_other_classes(data, loaded.taxonomy, people(), mpp=mpp)
    else:
        loaded = loaded.classified_by(other)
        names = None if classes is None else classes.split(",")
        samples = load_for_taxonomy(data, loaded.taxonomy, names=names, mpp=mpp)
    say_unpaired(data, people())
    say_notes(samples, people())
    if listed is not None:
        samples = named_samples(samples, listed, where=f"'{images}'")
    history = _history(loaded)
    known = history.know(samples, listener=people(hidden=as_json))
    chosen = samples if split is Split.ALL else _unseen(samples, known, loaded, history, test=split is Split.TEST)
    left_out = len(samples) - len(chosen)
    doubts = [*history.doubts(loaded.spec.name), *history.parts_may_be_missed(samples, known)]
    gallery = Gallery()
    with progress_bar("images", hidden=as_json) as bar:
        task = bar.add_task("scoring", total=len(chosen), note="")
        predict, shown_one_by_one, see = watched(gallery, lambda i, mpp: instances_on(i, loaded, mpp=mpp), chosen)

        def on_image(scores: ImageScores) -> None:
            if html is not None:
                see(scores)
            bar.advance(task)

        report = score(predict, shown_one_by_one, loaded.taxonomy.names, on_image=on_image)
    if csv is not None:
        report.write_csv(csv)
    if html is not None:
        from histocyte.evaluation.page.html import write_html

        seen = f"{split}; {_left_out(left_out, split)}"
        shown = {"Model": loaded.spec.name, "SHA-256": loaded.sha256, "Runtime": loaded.runtime.name, "Images": seen}
        if views > 1:
            shown["Views of each tile"] = str(views)
        if loaded.classifier is not None:
            shown |= {"Classifier": loaded.classifier.where, "SHA-256 of the classifier": loaded.classifier.sha256}
        title = f"{loaded.title} on {', '.join(report.sources)}"
        write_html(report, html, title=title, facts=shown, gallery=gallery)
    if as_json:
        facts = {
            "model": loaded.spec.name,
            "model_sha256": loaded.sha256,
            "runtime": loaded.runtime.name,
            "views": views,
            "split": str(split),
        }
        if loaded.classifier is not None:
            facts |= {"classifier": loaded.classifier.where, "classifier_sha256": loaded.classifier.sha256}
        facts |= {"trained_on_and_left_out": left_out, "known_images": known_by_standing(samples, known)}
        notes = [note for sample in chosen for note in sample.notes]
        print_json({**facts, "doubts": doubts, "notes": notes, **report.to_json()})
        return
    columns = ("data set", "score", "value", "95 % interval", "images")
    print_table(f"{loaded.title}, {split} images", columns, [tuple(row) for row in report.table()])
    for note in report.interval_notes():
        say_note(note)
    if left_out:
        say(f"{_left_out(left_out, split)}{_how(samples, known, chosen, history)} (--split all scores them too).")
    for doubt in doubts:
        say(doubt)


def _left_out(count: int, split: Split) -> str:
    """How many images were not scored, and why."""
    return f"{count} images the model was trained {'or chosen on' if split is Split.TEST else 'on'} were left out"


def _how(samples: Sequence[Sample], known: Sequence[Known], chosen: Sequence[Sample], history: History) -> str:
    """What told that some images were trained on, where it was not their names."""
    scored, sets = {id(s) for s in chosen}, {entry.name for entry in history.sets}
    away = [(s, k) for s, k in zip(samples, known, strict=True) if id(s) not in scored]
    renamed = sum(k.by == "content" and s.source not in sets for s, k in away)
    counts = (renamed, sum(k.by == "group" for _, k in away))
    said = ("in a folder of another name, known by what they show", "of patients or slides that it was trained on")
    parts = [f"{n} of them {text}" for n, text in zip(counts, said, strict=True) if n]
    return f", {', '.join(parts)}" if parts else ""


def _history(model: Model) -> History:
    """Of a model, and of its classifier."""
    classifier = model.classifier
    return model.spec.history.after([] if classifier is None else [(classifier.where, classifier.spec.history)])


def _unseen(
    samples: Sequence[Sample], known: Sequence[Known], model: Model, history: History, *, test: bool = False
) -> list[Sample]:
    """Images that neither model nor classifier was trained on.

    Args:
        samples: All there are.
        known: What the two have had to do with each.
        model: With its classifier.
        history: Of both.
        test: Those alone that chose no weights.

    Raises:
        InputError: There are none.
    """
    from histocyte.core.errors import InputError
    from histocyte.model.history import Standing

    most = Standing.LEFT_OUT if test else Standing.HELD_OUT
    chosen = [s for s, k in zip(samples, known, strict=True) if k.standing <= most]
    if not chosen:
        name = f"'{model.spec.name}'{' or its classifier' if model.classifier else ''}"
        if test:
            raise InputError(
                f"Of these {len(samples)} images {name} was trained or chosen on all: none was left out of its "
                "training (`histocyte train --leave-out`). Those it was not trained on: --split unseen."
            )
        how = _how(samples, known, (), history)
        raise InputError(
            f"{name} was trained on all of these {len(samples)} images{how}. Score them anyway: --split all."
        )
    return chosen
