"""`histocyte train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from histocyte.training.precision import Precision

__all__ = ["train"]

_PRECISIONS: dict[str, Precision] = {"auto": "auto", "f32": "float32", "bf16": "bfloat16"}
"""Torch's names of those that `histocyte segment` knows too."""


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
    ] = Path("runs/model"),
    recipe: Annotated[
        str | None,
        typer.Option(
            help="What to train: hover_unet where not given. Or the recipe.json of a run, to train in the same way: "
            "it says everything but data, weights that are files of your own, and the device."
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
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Rank of the adapters: 8 where not given.")] = None,
    lora_mlp: Annotated[bool, typer.Option("--lora-mlp", help="Adapters on the MLPs too, not on attention alone.")] = (
        False
    ),
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep a frozen encoder's features in; training is quick from there.")
    ] = None,
    cache_passes: Annotated[
        int | None, typer.Option(min=1, help="How often the images' area is kept, varied anew: 8 where not given.")
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
    steps: Annotated[
        int | None, typer.Option(min=1, help="Batches to train for: 4000 where not given, or the plan's epochs.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Crops in a batch: the plan's where not given; without a plan 16, or as suits cores and memory.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-7,
            max=1,
            help="Its peak: 0.001 where not given, of which a pre-trained encoder has 0.3, or the plan's.",
        ),
    ] = None,
    loss_weight: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM=WEIGHT", help="Weight of a loss term in place of the recipe's; may be repeated."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="Of everything random, the split included: 0 where not given."),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(min=0.01, max=0.9, help="Share of the patients or slides held out: 0.2 where not given."),
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
            min=32,
            max=4096,
            help="Side of a crop at the model's resolution: 256 where not given, or the plan's; less where images are "
            "smaller. Where an image is smaller than this, white fills the crop.",
        ),
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between validations: 500 where not given, or the plan's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU; all there are where not given.")] = None,
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
    from histocyte.apps.cli.output import precision_name
    from histocyte.core.errors import InputError, require, require_installed
    from histocyte.datasets.name_list import read_name_list
    from histocyte.files.writable import check_folder
    from histocyte.runs.labelled import check_labelled, check_readable, parse_fold

    require_installed("torch", extra="torch")
    for folder in (out, cache):
        check_folder(folder)
    part = None if fold is None else parse_fold(fold)
    computed_in = None if precision is None else _PRECISIONS[precision_name(precision)]
    if part is not None and validation is not None:
        raise InputError("--fold and --validation both say what is held out: choose one of them.")
    check_labelled(data, mpp=mpp)
    from_a_file = recipe is not None and recipe.endswith(".json")
    left_out = () if leave_out is None or from_a_file else read_name_list(leave_out)
    check_readable(Path(recipe) if recipe is not None and from_a_file else None)
    require("torch", extra="torch")
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.stopping import Stopping, ending_with_a_word
    from histocyte.core.listener import Stopped
    from histocyte.core.taxonomy import NO_CLASSES
    from histocyte.datasets.own_classes import classes_to_learn
    from histocyte.recipes.plans import OURS, find_plan
    from histocyte.runs.train.options import Adaptation, refuse_beside_a_recipe
    from histocyte.runs.train.resolved import ResolvedRecipe
    from histocyte.runs.train.run import TrainingRun
    from histocyte.runs.train.start import Start

    fitting = {"steps": steps, "batch": batch, "validate_every": validate_every, "learning_rate": learning_rate}
    if recipe is not None and from_a_file:
        file = Path(recipe)
        others: dict[str, object] = {
            **{"--encoder": encoder, "--adapt": adapt, "--lora-rank": lora_rank, "--lora-mlp": lora_mlp},
            **{"--cache-passes": cache_passes, "--delta": delta or None, "--whole": delta is False, "--plan": plan},
            **{"--loss-weight": loss_weight, "--seed": seed, "--validation": validation, "--fold": fold},
            **{"--model-mpp": model_mpp, "--leave-out": leave_out, "--crop-px": crop_px, "--classes": classes},
            **{f"--{option.replace('_', '-')}": value for option, value in fitting.items()},
        }
        refuse_beside_a_recipe(file, others)
        again = ResolvedRecipe.read(file)
        beginning = Start.again(again, file, encoder_weights, start_from)
        ways = Adaptation.again(again, file, cache)
        seed, share, plan, name = again.training.seed, again.validation, again.plan, name or again.model.name
        part, left_out = again.fold, again.left_out
        wishes: dict[str, object] = {}
    else:
        if start_from is not None and classes is not None:
            raise InputError("--start-from goes on with the classes of that model. Leave out --classes.")
        taxonomy = None if start_from is not None else classes_to_learn(data, classes=classes, mpp=mpp)
        again, beginning = (
            None,
            Start.of(*(recipe, encoder, encoder_weights, start_from, model_mpp), taxonomy or NO_CLASSES),
        )
        chosen = find_plan(beginning.spec.recipe, OURS if plan is None else plan)
        how = adapt or (beginning.way_to_adapt if chosen is None else chosen.adapt)
        ways = Adaptation(how, lora_rank or 8, lora_mlp, cache, cache_passes or 8, delta)
        share, wishes = validation or 0.2, {**fitting, "loss_weights": loss_weight or []}
    with ending_with_a_word():
        run = TrainingRun(
            out, beginning, name or "my-model", ways, seed or 0, device, threads, plan or OURS, again, crop_px, people()
        )
        run.load_data(data, share=share, mpp=mpp, fold=part, left_out=left_out)
        with Stopping(once_asked=True) as stopping:
            try:
                run.fit(stop=stopping.asked, precision=computed_in, **wishes)
            except Stopped as stopped:
                raise stopping.end(str(stopped)) from None
