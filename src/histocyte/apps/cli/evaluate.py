"""`histocyte evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from histocyte.apps.cli.tiles import Margin, Tile
from histocyte.runs.arguments import defaults_of
from histocyte.runs.scoring.evaluate import evaluate as score_model

__all__ = ["Split", "evaluate"]

_USUAL = defaults_of(score_model)


class Split(StrEnum):
    """Which images of a set are scored."""

    UNSEEN = "unseen"
    TEST = "test"
    ALL = "all"


_SPLIT = Split(_USUAL["split"])


def evaluate(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a model file.", show_default=False)],
    data: Annotated[list[Path], typer.Argument(help="Folders of labelled images.", show_default=False)],
    split: Annotated[
        Split,
        typer.Option(
            help="unseen: images the model was not trained on. test: of these, the ones that did not choose "
            "its weights either (`train --leave-out`, and sets new to it). all: every image."
        ),
    ] = _SPLIT,
    images: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text file with one image name per line: only these are scored."),
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Resolution of the images in µm/px, for sets not known by name.")
    ] = None,
    runtime: Annotated[str, typer.Option(help="auto, openvino, torch, onnxruntime.")] = _USUAL["runtime"],
    device: Annotated[str, typer.Option(help="For torch: auto, cpu, cuda, mps.")] = _USUAL["device"],
    precision: Annotated[
        str | None,
        typer.Option(
            help="For OpenVINO: auto (bf16 where the CPU has units for it: up to twice as fast), bf16, or f32, with "
            "which every machine finds the same cells.",
            show_default="auto",
        ),
    ] = None,
    views: Annotated[
        int,
        typer.Option(
            help="Average predictions over this many flips and turns of each tile: 1, 2, 4 or 8; as many times slower."
        ),
    ] = _USUAL["views"],
    tile: Tile = None,
    margin: Margin = None,
    classifier: Annotated[
        Path | None,
        typer.Option(
            help="Classifier file (`histocyte train classifier`) whose classes replace the model's; needs torch."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="The data's classes 1, 2, …, separated by commas, or a known list (`train --help`), in place "
            "of its classes.json.",
        ),
    ] = None,
    perturb: Annotated[
        bool,
        typer.Option(
            "--perturb",
            help="Also score under other stains, blur, JPEG compression and a wrong resolution: 14 times the time.",
        ),
    ] = False,
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
    from histocyte.apps.cli.output import precision_name, print_json, print_table, runtime_name, say, say_note
    from histocyte.files.writable import check_file
    from histocyte.runs.scoring.reports import ModelReport

    check_file(csv, example="scores.csv")
    report = score_model(
        model,
        data,
        split=split.value,
        images=images,
        mpp=mpp,
        runtime=runtime_name(runtime),
        device=device,
        precision=precision_name(precision),
        views=views,
        tile_px=tile,
        margin_px=margin,
        classifier=classifier,
        classes=classes,
        perturb=perturb,
        html=html,
        listener=people(bars=not as_json),
    )
    if csv is not None:
        report.write_csv(csv)
    if as_json:
        print_json(report.to_json())
        return
    columns = ("data set", "score", "value", "95 % interval", "images")
    print_table(f"{report.title}, {split} images", columns, [tuple(row) for row in report.table()])
    if isinstance(report, ModelReport) and report.perturbed:
        from histocyte.evaluation.perturbed import PERTURBED_COLUMNS, perturbed_table

        print_table("The same images, changed", PERTURBED_COLUMNS, perturbed_table(report.perturbed))
    for note in report.interval_notes():
        say_note(note)
    if report.left_out_note:
        say(f"{report.left_out_note} (--split all scores them too).")
    for doubt in report.doubts:
        say(doubt)
