"""`histocyte train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train"]


def train(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders of labelled images: NAME.webp/.png beside NAME.npz.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the run; an unfinished run there goes on.")
    ] = Path("runs/model"),
    recipe: Annotated[str, typer.Option(help="What to train.")] = "hover_unet",
    encoder_weights: Annotated[
        Path | None, typer.Option(help="Pre-trained weights of the encoder, .safetensors with timm's names.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches to train for.")] = 4000,
    batch: Annotated[int, typer.Option(min=1, help="Crops in a batch.")] = 16,
    seed: Annotated[int, typer.Option(help="Of everything random, the split included.")] = 0,
    validation: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the patients or slides held out.")
    ] = 0.2,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU; all there are where not given.")] = None,
    mpp: Annotated[float | None, typer.Option(help="µm/px of images of a set that is not known by name.")] = None,
    name: Annotated[str, typer.Option(help="Name of the model.")] = "my-model",
) -> None:
    """Train a model on labelled images.

    Whole patients or slides are held out, and the weights that score best on them are kept. The run can be stopped at
    any moment; the same command goes on where it was.

    Example: histocyte train data/monuseg data/consep -o runs/mine --encoder-weights resnet18.safetensors
    """
    from histocyte.core.errors import require

    require("torch", extra="torch")
    from histocyte.apps.cli.training_run import TrainingRun

    run = TrainingRun(out, recipe, name, encoder_weights, seed, device, threads)
    run.load_data(data, validation=validation, mpp=mpp)
    run.fit(steps=steps, batch=batch, validate_every=validate_every)
