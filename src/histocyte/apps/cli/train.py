"""`histocyte train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histocyte.runs.arguments import defaults_of
from histocyte.runs.train.train import LIMITS
from histocyte.runs.train.train import train as run_training

if TYPE_CHECKING:
    from collections.abc import Iterable

    from histocyte.datasets.data_check import DataCheck

__all__ = ["train"]

_USUAL = defaults_of(run_training)


def train(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of labelled images: NAME.webp/.png beside NAME.npz. Their classes, where they have some, "
            "stand in classes.json.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the run; an unfinished run there goes on.")
    ] = Path(_USUAL["output"]),
    recipe: Annotated[
        str | None,
        typer.Option(
            help="What to train: hover_unet where not given. Or the recipe.json of a run, to train in the same way: "
            "it says everything but data, weights that are files of your own, and the device."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="Of the recipe, e.g. taps=3,6,9,12 or shared=true; may be repeated. `histocyte recipes show` says "
            "which there are.",
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder in place of the recipe's own (`histocyte encoders list`).")
    ] = None,
    encoder_weights: Annotated[
        str | None,
        typer.Option(
            help="Pre-trained weights of that encoder, or of the recipe's own; at random where not given. Local: a "
            ".safetensors, .pth, .pt or .bin file, an index.json beside its shards, or a folder of the hub's layout. "
            "From the hub or its cache: a name of `histocyte encoders list`, or hub:owner/name@revision."
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="Go on from a model, e.g. on images of your own: a name of `histocyte models list` or a file. Its "
            "network and classes stay, and images that it was not trained on stay held out.",
        ),
    ] = None,
    adapt: Annotated[
        str | None,
        typer.Option(
            help="What of the encoder is trained: full, frozen, last-N (its last N blocks), lora (adapters). The "
            "recipe's own way where not given: full, but for frozen_encoder (`histocyte recipes show`)."
        ),
    ] = None,
    lora_rank: Annotated[
        int | None, typer.Option(**LIMITS["lora_rank"].option, help="Rank of the adapters: 8 where not given.")
    ] = None,
    lora_mlp: Annotated[bool, typer.Option("--lora-mlp", help="Adapters on the MLPs too, not on attention alone.")] = (
        False
    ),
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep a frozen encoder's features in; training is quick from there.")
    ] = None,
    cache_passes: Annotated[
        int | None,
        typer.Option(
            **LIMITS["cache_passes"].option, help="How often the images' area is kept, varied anew: 8 where not given."
        ),
    ] = None,
    delta: Annotated[
        bool | None,
        typer.Option(
            "--delta/--whole",
            help="Write the model without its encoder's published weights; so unless all of it is trained.",
        ),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            help="How to train: ours where not given, made for hundreds of images and hours on a CPU, or published, as "
            "the recipe's paper has it; `histocyte recipes show` prints both, and further ones of some recipes.",
        ),
    ] = None,
    plan_option: Annotated[
        list[str] | None,
        typer.Option(
            "--plan-option",
            metavar="NAME=VALUE",
            help="Otherwise than the plan says, e.g. sampling=area, augmentation=none or schedule.gamma=0.85; may be "
            "repeated. Without a published plan: augmentation, sampling, sampling_gamma, zoom.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            **LIMITS["steps"].option, help="Batches to train for: 4000 where not given, or the plan's epochs."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            **LIMITS["batch"].option,
            help="Crops in a batch: the plan's where not given; without a plan 16, or as suits cores and memory.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            **LIMITS["learning_rate"].option,
            help="Its peak: 0.001 where not given, of which a pre-trained encoder has 0.3, or the plan's.",
        ),
    ] = None,
    loss_weight: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM=WEIGHT", help="Weight of a loss term in place of the recipe's; may be repeated."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(**LIMITS["seed"].option, help="Of everything random, the split included: 0 where not given."),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            **LIMITS["validation"].option, help="Share of the patients or slides held out: 0.2 where not given."
        ),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Hold out the K-th of N parts of the patients or slides: cross-validation."),
    ] = None,
    leave_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Text file with a name of an image in each line, as published test sets are given: the run neither "
            "learns from them nor chooses by them. `histocyte evaluate --split test` scores them.",
        ),
    ] = None,
    crop_px: Annotated[
        int | None,
        typer.Option(
            **LIMITS["crop_px"].option,
            help="Side of a crop at the model's resolution: 256 where not given, or the plan's; less where images are "
            "smaller. Where an image is smaller than this, white fills the crop.",
        ),
    ] = None,
    validate_every: Annotated[
        int | None,
        typer.Option(
            **LIMITS["validate_every"].option, help="Steps between validations: 500 where not given, or the plan's."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = _USUAL["device"],
    threads: Annotated[
        int | None, typer.Option(**LIMITS["threads"].option, help="Threads on a CPU; all there are where not given.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="To compute in: f32, bf16 (quicker, where the processor can), or auto, the quicker of them. The "
            "weights are in f32 always. auto where not given."
        ),
    ] = None,
    mpp: Annotated[float | None, typer.Option(help="µm/px of images of a set that is not known by name.")] = None,
    model_mpp: Annotated[
        float | None,
        typer.Option(
            help="µm/px that the model is to work at, in place of the recipe's or the model's it goes on from."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Cell classes to tell apart, with commas between them, or a list known by name: cells (epithelial, "
            "lymphocyte, macrophage, neutrophil, stromal, other), pannuke, refined, monusac, consep, consep7, conic, "
            "nucls_main, nucls_super, puma, puma3, brca_m2c, crchisto, cytodark0. Those of the data where not given.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model: my-model where not given.")] = None,
    check_data: Annotated[
        bool,
        typer.Option(
            "--check-data",
            help="Look at the data alone, and do not train: images and cells by class, what will not be learnt, what "
            "looks wrong, and data_check.png with outlines to look at.",
        ),
    ] = False,
) -> None:
    """Train a model on labelled images.

    Whole patients or slides are held out, and the weights that score best on them are kept. The run can be stopped at
    any moment, and the same command goes on where it was: after Ctrl-C or SIGTERM (exit code 130 or 143) from the step
    that was being done, when killed or at the second Ctrl-C from the last checkpoint.

    On several GPUs: torchrun --nproc-per-node 2 --no-python histocyte train … with the same options.

    Your own classes on a model as it is, from a few hundred labelled cells: histocyte train classifier --help.

    Examples:
        histocyte train data/monuseg data/consep -o runs/mine --encoder-weights resnet18.safetensors
        histocyte train data/mine --mpp 0.25 -o runs/ours --start-from hover-unet-consep --steps 1000
        histocyte train data/mine --mpp 0.25 -o runs/cellvit --recipe cellvit --encoder-weights vit256 --plan published
        histocyte train data/mine --mpp 0.25 -o runs/again --recipe runs/cellvit/recipe.json
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import command_as_typed
    from histocyte.apps.cli.stopping import Stopping, ending_with_a_word
    from histocyte.core.listener import Stopped
    from histocyte.recipes.options import parsed

    with ending_with_a_word(), Stopping(once_asked=True) as stopping:
        try:
            run_training(
                data,
                out,
                recipe=recipe,
                encoder=encoder,
                encoder_weights=encoder_weights,
                start_from=start_from,
                adapt=adapt,
                lora_rank=lora_rank,
                lora_mlp=lora_mlp,
                cache=cache,
                cache_passes=cache_passes,
                delta=delta,
                plan=plan,
                options=parsed(option or ()),
                plan_options=parsed(plan_option or (), flag="--plan-option"),
                steps=steps,
                batch=batch,
                learning_rate=learning_rate,
                loss_weights=_loss_weights(loss_weight or ()),
                seed=seed,
                validation=validation,
                fold=fold,
                leave_out=leave_out,
                crop_px=crop_px,
                validate_every=validate_every,
                device=device,
                threads=threads,
                precision=precision,
                mpp=mpp,
                model_mpp=model_mpp,
                classes=classes,
                name=name,
                check_data=check_data,
                on_data=_show_data,
                command=command_as_typed(),
                listener=people(),
                stop=stopping.asked,
            )
        except Stopped as stopped:
            raise stopping.end(str(stopped)) from None


def _show_data(found: DataCheck) -> None:
    from histocyte.apps.cli.output import print_table

    print_table("Data", found.columns, found.rows)


def _loss_weights(changes: Iterable[str]) -> dict[str, float]:
    """Weights by loss term from texts "term=weight".

    Raises:
        InputError: One is something else.

    >>> _loss_weights(["hover_mse=2"])
    {'hover_mse': 2.0}
    """
    from histocyte.core.errors import InputError

    weights: dict[str, float] = {}
    for change in changes:
        term, _, number = change.partition("=")
        try:
            weights[term] = float(number)
        except ValueError:
            raise InputError(f"--loss-weight {change}: expected TERM=WEIGHT with a number.") from None
    return weights
