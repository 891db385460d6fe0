"""`histocyte train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
            help="Folders of labelled images: NAME.webp/.png beside NAME.npz. Class names are read from classes.json.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the run; an unfinished run there is continued.")
    ] = Path(_USUAL["output"]),
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe to train: hover_unet by default. Or a run's recipe.json, to train the same way again: "
            "it holds everything but the data, weights that are your own files, and the device."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="Recipe option, e.g. taps=3,6,9,12 or shared=true; repeat for several. `histocyte recipes "
            "show` lists them.",
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder in place of the recipe's own (`histocyte encoders list`).")
    ] = None,
    encoder_weights: Annotated[
        str | None,
        typer.Option(
            help="Pre-trained weights of that encoder, or of the recipe's own; random by default. Local: a "
            ".safetensors, .pth, .pt or .bin file, an index.json beside its shards, or a folder of the "
            "hub's layout. From the hub or its cache: a name of `histocyte encoders list`, or "
            "hub:owner/name@revision."
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="Continue training a model, e.g. on your own images: a name of `histocyte models list` or a "
            "file. It keeps its network and classes, and images that it was not trained on stay held out.",
        ),
    ] = None,
    adapt: Annotated[
        str | None,
        typer.Option(
            help="Part of the encoder to train: full, frozen, last-N (its last N blocks), lora (adapters). The "
            "recipe's own way by default: full, but for frozen_encoder (`histocyte recipes show`)."
        ),
    ] = None,
    lora_rank: Annotated[
        int | None, typer.Option(**LIMITS["lora_rank"].option, help="Rank of the adapters: 8 by default.")
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
            **LIMITS["cache_passes"].option,
            help="Passes over the images to keep, each augmented differently: 8 by default.",
        ),
    ] = None,
    delta: Annotated[
        bool | None,
        typer.Option(
            "--delta/--whole",
            help="Leave the encoder's published weights out of the model file; the default unless the whole "
            "encoder is trained.",
        ),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            help="How to train: ours by default, made for hundreds of images and hours on a CPU, or published, "
            "as the recipe's paper has it; `histocyte recipes show` prints both, and further ones of some "
            "recipes.",
        ),
    ] = None,
    plan_option: Annotated[
        list[str] | None,
        typer.Option(
            "--plan-option",
            metavar="NAME=VALUE",
            help="Change a setting of the plan, e.g. sampling=area, augmentation=none or schedule.gamma=0.85; "
            "repeat for several. Without a published plan: augmentation, sampling, sampling_gamma, zoom.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(**LIMITS["steps"].option, help="Batches to train for: 4000 by default, or the plan's epochs."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            **LIMITS["batch"].option,
            help="Crops in a batch: the plan's by default; without a plan 16, or as suits cores and memory.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            **LIMITS["learning_rate"].option,
            help="Peak learning rate: by default 0.001 (0.3 of it for a pre-trained encoder), or the plan's.",
        ),
    ] = None,
    loss_weight: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM=WEIGHT", help="Weight of a loss term in place of the recipe's; repeat for several."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(**LIMITS["seed"].option, help="Random seed, also of the split: 0 by default."),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(**LIMITS["validation"].option, help="Share of the patients or slides held out: 0.2 by default."),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Hold out the K-th of N parts of the patients or slides: cross-validation."),
    ] = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(help="Folder whose images are held out in place of a share; repeat for several."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Train as published figures were made, on one imported set: pannuke (three trainings, each "
            "scored on the fold kept for it, and their mean)."
        ),
    ] = None,
    leave_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Text file with one image name per line, as published test sets come: these images are "
            "neither learnt from nor used to choose weights. `histocyte evaluate --split test` scores "
            "them.",
        ),
    ] = None,
    crop_px: Annotated[
        int | None,
        typer.Option(
            **LIMITS["crop_px"].option,
            help="Side of a crop at the model's resolution: 256 by default, or the plan's; less where images "
            "are smaller. White fills the rest of a crop that is larger than its image.",
        ),
    ] = None,
    validate_every: Annotated[
        int | None,
        typer.Option(
            **LIMITS["validate_every"].option, help="Steps between validations: 500 by default, or the plan's."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = _USUAL["device"],
    threads: Annotated[
        int | None, typer.Option(**LIMITS["threads"].option, help="Threads on a CPU; all processors by default.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Number format to compute in: f32, bf16 (quicker, where the processor can), or auto, the "
            "quicker of them (default). Weights stay in f32."
        ),
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Resolution of the images in µm/px, for sets not known by name.")
    ] = None,
    model_mpp: Annotated[
        float | None,
        typer.Option(
            help="Resolution in µm/px for the model to work at, in place of the recipe's or of the model to "
            "continue from."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Cell classes to tell apart, separated by commas, or a known list: cells (epithelial, "
            "lymphocyte, macrophage, neutrophil, stromal, other), pannuke, refined, monusac, consep, "
            "consep7, conic, nucls_main, nucls_super, puma, puma3, brca_m2c, crchisto, cytodark0. Those "
            "of the data by default.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model: my-model by default.")] = None,
    check_data: Annotated[
        bool,
        typer.Option(
            "--check-data",
            help="Check the data without training: images and cells by class, what will not be learnt, what "
            "looks wrong, and data_check.png with outlines to look at.",
        ),
    ] = False,
) -> None:
    """Train a model on labelled images.

    Whole patients or slides are held out, and the weights that score best on them are kept. The run can be stopped at
    any moment, and the same command continues it: after Ctrl-C or SIGTERM (exit code 130 or 143) from the current
    step; when killed, or at the second Ctrl-C, from the last checkpoint.

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
            given: dict[str, Any] = {
                "recipe": recipe,
                "encoder": encoder,
                "encoder_weights": encoder_weights,
                "start_from": start_from,
                "adapt": adapt,
                "lora_rank": lora_rank,
                "lora_mlp": lora_mlp,
                "cache": cache,
                "cache_passes": cache_passes,
                "delta": delta,
                "plan": plan,
                "options": parsed(option or ()),
                "plan_options": parsed(plan_option or (), flag="--plan-option"),
                "steps": steps,
                "batch": batch,
                "learning_rate": learning_rate,
                "loss_weights": _loss_weights(loss_weight or ()),
                "seed": seed,
                "validation": validation,
                "fold": fold,
                "held_out": held_out or None,
                "leave_out": leave_out,
                "crop_px": crop_px,
                "validate_every": validate_every,
                "device": device,
                "threads": threads,
                "precision": precision,
                "mpp": mpp,
                "model_mpp": model_mpp,
                "classes": classes,
                "name": name,
                "command": command_as_typed(),
                "listener": people(),
                "stop": stopping.asked,
            }
            if protocol is None:
                run_training(data, out, check_data=check_data, on_data=_show_data, **given)
            else:
                _by_protocol(protocol, data, out, check_data, given)
        except Stopped as stopped:
            raise stopping.end(str(stopped)) from None


def _by_protocol(protocol: str, data: list[Path], out: Path, check_data: bool, given: dict[str, Any]) -> None:
    from histocyte.apps.cli.compare import print_folds
    from histocyte.core.errors import InputError
    from histocyte.runs.train.protocol import train_protocol

    if check_data or len(data) != 1:
        raise InputError("--protocol trains on one imported set (histocyte data import), and not with --check-data.")
    print_folds(train_protocol(protocol, data[0], out, **given))


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
