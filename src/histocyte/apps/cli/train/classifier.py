"""`histocyte train classifier`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from histocyte.apps.cli.tiles import Margin, Tile
from histocyte.core.names import counted
from histocyte.runs.arguments import defaults_of
from histocyte.runs.classifier.classifier import LIMITS, teach_classifier

__all__ = ["classifier"]

_USUAL = defaults_of(teach_classifier)


def classifier(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a model file.", show_default=False)],
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders of labelled images with classes: NAME.webp/.png, NAME.npz.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File of the classifier.")] = Path(_USUAL["output"]),
    classes: Annotated[
        str | None,
        typer.Option(
            help="Names of classes 1, 2, …, separated by commas, or a known list (`train --help`); by default "
            "those in classes.json."
        ),
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(**LIMITS["cells"].option, help="Learn from this many cells, drawn at random; all by default."),
    ] = None,
    hidden: Annotated[
        int, typer.Option(**LIMITS["hidden"].option, help="Width of a hidden layer; 0 is a linear classifier.")
    ] = _USUAL["hidden"],
    epochs: Annotated[
        int,
        typer.Option(
            **LIMITS["epochs"].option, help="Most epochs; with few cells, an epoch passes over them several times."
        ),
    ] = _USUAL["epochs"],
    validation: Annotated[
        float, typer.Option(**LIMITS["validation"].option, help="Share of the patients or slides held out.")
    ] = _USUAL["validation"],
    seed: Annotated[
        int, typer.Option(**LIMITS["seed"].option, help="Random seed of split, draw, first weights and intervals.")
    ] = _USUAL["seed"],
    mpp: Annotated[
        float | None, typer.Option(help="Resolution of the images in µm/px, for sets not known by name.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep found cells in; the next classifier takes seconds.")
    ] = None,
    tile: Tile = None,
    margin: Margin = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = _USUAL["device"],
    threads: Annotated[
        int | None,
        typer.Option(
            **LIMITS["threads"].option, help="Images to work on at a time on a CPU; one per processor by default."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Teach a model your own classes from a few hundred labelled cells, in minutes; the model itself stays as it is.

    The model finds the cells of your images; those within 3 µm of a labelled one learn its class from their vectors.
    Whole patients or slides are held out and scored.

    Example: histocyte train classifier hover-unet-consep data/mine --mpp 0.25 -o mine.safetensors
    Then: histocyte segment slide.svs --model hover-unet-consep --classifier mine.safetensors
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, say_note
    from histocyte.apps.cli.stopping import ending_with_a_word

    once_more = "Run the same command again; with --cache FOLDER it would find the cells of no image twice."
    with ending_with_a_word(None if cache else once_more):
        taught = teach_classifier(
            model,
            data,
            out,
            classes=classes,
            cells=cells,
            hidden=hidden,
            epochs=epochs,
            validation=validation,
            seed=seed,
            mpp=mpp,
            cache=cache,
            tile_px=tile,
            margin_px=margin,
            device=device,
            threads=threads,
            listener=people(),
        )
    if as_json:
        print_json({**taught.record, "notes": list(taught.notes)})
        return
    for note in taught.notes:
        say_note(note)
    _report(taught.record, taught.scores, out, model)


def _report(record: Mapping[str, Any], scores: Any, out: Path, model: str) -> None:
    from histocyte.apps.cli.output import print_table, say, say_note

    facts = record["training"]
    fitted = sum(facts["cells_fitted"].values())
    heads, rows = scores.table()
    print_table("Held-out images: value (95 % interval)", heads, rows)
    for note in scores.interval_notes():
        say_note(note)
    print_table("Confusion of the classifier, held-out cells", *scores.confusion_table())
    stop = (
        f"{facts['cells_to_stop_by']:,} of other patients or slides said when to stop"
        if facts["cells_to_stop_by"]
        else "no other patient or slide was left to say when to stop"
    )
    say(f"Learnt from {counted(fitted, 'cell')}; {stop} (epoch {facts['best_epoch']} of {facts['epochs']}).")
    say(f"Of {counted(scores.n_labelled, 'labelled cell')} on held-out images the model found {sum(scores.n_cells):,}.")
    lacking = [name for name, n in facts["cells_fitted"].items() if not n]
    if lacking:
        say_note(f"No cell to learn from of: {', '.join(lacking)}. It will not be told.")
    seen = facts["images_the_model_was_trained_on"]
    if seen:
        say_note(
            f"The model was trained on {seen} of the images learnt from; on tissue new to it the "
            f"classifier may do worse than on theirs."
        )
    say(f"Wrote {out} in {facts['seconds']:.0f} s. Next: histocyte segment SLIDE --model {model} --classifier {out}")
