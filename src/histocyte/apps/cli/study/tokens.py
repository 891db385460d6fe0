"""`histocyte study tokens`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histocyte.apps.cli.tiles import Margin, Tile

__all__ = ["tokens"]


def tokens(
    model: Annotated[
        str,
        typer.Argument(help="A model's name or file, or an encoder: NAME or NAME=WEIGHTS_FILE.", show_default=False),
    ],
    data: Annotated[list[Path], typer.Argument(help="Folders of labelled images with classes.", show_default=False)],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the study; vectors there are reused.", show_default=False)
    ],
    tap: Annotated[
        int | None, typer.Option(help="For an encoder: block or level to read, counted from 1; the last by default.")
    ] = None,
    normalise: Annotated[
        str | None, typer.Option(help="For an encoder: MEAN/STD that its weights expect, e.g. 0.5/0.5.")
    ] = None,
    tile: Tile = None,
    margin: Margin = None,
    mpp: Annotated[
        float | None, typer.Option(help="Resolution of the images in µm/px, for sets not known by name.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Cell classes to probe, separated by commas, or a known list (`train --help`); those of the "
            "data by default.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Random seed of split, shuffles, random weights and picture.")
    ] = 0,
    umap: Annotated[bool, typer.Option(help="Make the UMAP picture.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """See what the vectors of nuclei encode: classes by a linear probe, and whether they reveal tile or slide.

    Vectors are of true nuclei. Baselines are the same network with random weights, and the colour of the nuclei.

    Example: histocyte study tokens hover-unet-consep data/consep -o tokens
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.apps.cli.stopping import Stopping, ending_with_a_word
    from histocyte.core.errors import require, require_installed
    from histocyte.core.listener import Stopped, in_turn
    from histocyte.core.taxonomy import NO_CLASSES
    from histocyte.datasets.own_classes import classes_to_learn, load_to_learn
    from histocyte.runs.labelled import check_labelled, say_notes, say_unpaired
    from histocyte.runs.studies.tokens.report import (
        check_out,
        notes_of,
        study_json,
        table_of,
        write_token_study,
    )

    for module in ("torch", "sklearn"):
        require_installed(module, extra="study")
    check_out(out)
    check_labelled(data, mpp=mpp, learn=False)
    for module in ("torch", "sklearn"):
        require(module, extra="study")
    from histocyte.runs.studies.tokens.source import find_source
    from histocyte.runs.studies.tokens.study import run_token_study

    source = find_source(model, tap=tap, tile_px=tile, margin_px=margin, normalise=_normalisation(normalise))
    listener = people()
    taxonomy = classes_to_learn(data, classes=classes, mpp=mpp) or NO_CLASSES
    samples = load_to_learn(data, taxonomy, mpp=mpp, listener=listener)
    say_unpaired(data, listener)
    say_notes(samples, listener)
    with ending_with_a_word(), Stopping(once_asked=True) as stopping, in_turn(listener) as step:
        try:
            study = run_token_study(
                source,
                samples,
                out,
                class_names=taxonomy.names,
                device=device,
                seed=seed,
                picture=umap,
                step=step,
                stop=stopping.asked,
            )
        except Stopped as stopped:
            raise stopping.end(str(stopped)) from None
    written = write_token_study(study, out)
    if as_json:
        print_json(study_json(study))
        return
    heads, rows = table_of(study)
    print_table(f"{study.title}: value (95 % interval)", heads, rows)
    for note in notes_of(study):
        listener.say(note)
    listener.say(f"Written: {', '.join(str(path) for path in written)}")


def _normalisation(text: str | None) -> tuple[float, float] | None:
    from histocyte.core.errors import InputError

    if text is None:
        return None
    mean, _, std = text.partition("/")
    try:
        values = float(mean), float(std)
    except ValueError as error:
        raise InputError(f"'{text}' is no normalisation. Write MEAN/STD, e.g. 0.5/0.5.") from error
    if not values[1] > 0:
        raise InputError(f"'{text}': the standard deviation must be positive.")
    return values
