"""`histocyte study encoders`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histocyte.apps.cli.tiles import Margin, Tile

__all__ = ["encoders"]


def encoders(
    data: Annotated[list[Path], typer.Option(help="Folder of labelled images; repeat for more.", show_default=False)],
    encoders: Annotated[
        list[str],
        typer.Option(
            help="NAME (its published weights), NAME=WEIGHTS_FILE or NAME=random (a control), separated by commas.",
            show_default=False,
        ),
    ],
    taps: Annotated[
        str, typer.Option(help="Where encoders are tapped: shallow, deep, mixed, separated by commas.")
    ] = "shallow,deep,mixed",
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the study; an unfinished one is continued.")
    ] = Path("runs/study_encoders"),
    steps: Annotated[int, typer.Option(min=1, help="Batches that each decoder is trained for.")] = 2000,
    batch: Annotated[int, typer.Option(min=1, help="Crops in a batch.")] = 8,
    crops: Annotated[int, typer.Option(min=1, help="Crops whose features are kept and trained on.")] = 512,
    crop_px: Annotated[
        int | None,
        typer.Option(min=32, help="Side of a crop, a multiple of 32: 256 by default, less where images are smaller."),
    ] = None,
    mpp: Annotated[float, typer.Option(help="µm/px at which encoders see the images.")] = 0.25,
    tile: Tile = None,
    margin: Margin = None,
    decoder: Annotated[
        str, typer.Option(help="full (as published, for a GPU) or small (for a CPU); the same for all.")
    ] = "full",
    seeds: Annotated[
        str, typer.Option(help="Seeds of the decoders' first weights, separated by commas; one training each.")
    ] = "0",
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the patients or slides held out and scored.")
    ] = 0.2,
    split_seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed that decides which groups are held out, and the crops.")
    ] = 0,
    normalise: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=MEAN/STD, where weights expect another normalisation than their card's, e.g. "
            "mobilenetv2=0.5/0.5."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Encoder to compare the others with, by its name in the table; the first by default."),
    ] = None,
    replicates: Annotated[int, typer.Option(min=1, help="Bootstrap resamples behind each interval.")] = 1000,
    keep_features: Annotated[bool, typer.Option("--keep-features", help="Keep the features of finished runs.")] = (
        False
    ),
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Cell classes to tell apart, separated by commas, or a known list (`train --help`); those of "
            "the data by default.",
        ),
    ] = None,
    data_mpp: Annotated[
        float | None, typer.Option(help="Resolution of the images in µm/px, for sets not known by name.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU; all processors by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print study.json instead of a table.")] = False,
) -> None:
    """Compare pre-trained encoders, kept frozen, behind one decoder on the same budget.

    Whole patients or slides are held out and scored with 95 % intervals. An encoder that fails or whose weights are
    unavailable is listed with its reason and stops no other. Run the same command again to continue a stopped study;
    more encoders, taps and seeds may be added to a finished one.

    Example: histocyte study encoders --data consep --encoders resnet50,resnet50=random,uni --taps shallow,mixed
    """
    from histocyte.core.errors import HistocyteError, InputError, require, require_installed
    from histocyte.files.writable import check_folder
    from histocyte.runs.labelled import check_labelled

    for module in ("torch", "jinja2", "matplotlib"):
        require_installed(module, extra="study")
    check_folder(out)
    check_labelled(data, mpp=data_mpp, option="--data-mpp", learn=False)
    for module in ("torch", "jinja2", "matplotlib"):
        require(module, extra="study")
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, print_table, say
    from histocyte.apps.cli.stopping import Stopping, ending_with_a_word
    from histocyte.core.listener import Stopped
    from histocyte.encoders.catalog.find import find_card
    from histocyte.runs.studies.encoders.plan import Budget, parse_encoders, parse_normalisations, plan_runs
    from histocyte.runs.studies.encoders.study import EncoderStudy

    usual = Budget()
    budget = Budget(
        steps=steps,
        batch=batch,
        crops=crops,
        crop_px=crop_px or 256,
        mpp=mpp,
        tile_px=usual.tile_px if tile is None else tile,
        margin_px=usual.margin_px if margin is None else margin,
        decoder=decoder,
        held_out=held_out,
        split_seed=split_seed,
    )
    budget.check()
    try:
        numbers = [int(s) for s in seeds.split(",")]
    except ValueError as error:
        raise InputError(f"'{seeds}' are no seeds. Write whole numbers with commas between, e.g. 0,1,2.") from error
    if wrong := [n for n in numbers if not 0 <= n < 2**32]:
        raise InputError(f"{wrong[0]} is no seed: they are whole numbers from 0 to 4294967295.")
    choices = parse_encoders(encoders, parse_normalisations(normalise or ()))
    for choice in choices:
        find_card(choice.name)
    runs = plan_runs(choices, [t.strip() for t in taps.split(",")], numbers)
    with ending_with_a_word():
        study = EncoderStudy(
            out,
            budget,
            data,
            data_mpp=data_mpp,
            device=device,
            threads=threads,
            classes=classes,
            listener=people(),
            fixed=bool(crop_px),
        )
        with Stopping(once_asked=True) as stopping:
            try:
                outcome = study.run(runs, reference=reference, keep_features=keep_features, stop=stopping.asked)
            except Stopped as stopped:
                raise stopping.end(str(stopped)) from None
        found, table = study.write(outcome, reference=reference, replicates=replicates)
    if as_json:
        print_json(found)
    else:
        if table.rows:
            columns = ("encoder", "taps", "bPQ, 95 % interval", "of each seed", "less reference", "less random")
            shown = [(line[0], line[1], line[5], *line[-3:]) for line in table.lines()]
            n = ", ".join(f"{table.images[s]} of {s}" for s in table.sources)
            print_table(f"Frozen encoders, mean over data sets, held-out images: {n}", columns, shown)
        for one in outcome.ready:
            say(f"{one.label} waits for its weights ({one.memory_mb / 1000:.1f} GB of memory): {one.missing}")
            say(f"  then: {study.command(one)}")
        say(f"Wrote {out / 'study.html'}, study.json, table.csv, table.md and plots beside it.")
    if not table.rows:
        raise HistocyteError("No run of this study could be done; the reasons are above and in study.json.")
