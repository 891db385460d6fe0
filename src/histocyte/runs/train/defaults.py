"""How the recipes' models are trained: by our own way for all of them, or by a recipe's plan (`recipes.plans`)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import plain_tissue
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.augment.cellvit import cellvit_augmentation, cellvit_colour, flips
from histocyte.datasets.augment.cisca import cisca_augmentation
from histocyte.datasets.augment.steps import (
    Augmentation,
    blur,
    brightness_contrast,
    dihedral,
    downscale,
    noise,
    stain_jitter,
)
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.sample import Sample
from histocyte.encoders.weights.fingerprint import encoder_sha256
from histocyte.encoders.weights.hub import find_weights
from histocyte.encoders.weights.load import load_encoder_weights
from histocyte.losses.classes import class_weights
from histocyte.model.build import build_representation, build_segmenter
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import EncoderWeights, ModelSpec, Part
from histocyte.recipes.fitting import fitting_crop_px
from histocyte.recipes.options import make_spec
from histocyte.recipes.plan import Crops, TrainingPlan
from histocyte.recipes.plans import PLANS
from histocyte.recipes.registry import RECIPES
from histocyte.training.crops import CropSampler
from histocyte.training.feature_cache import crops_of_passes
from histocyte.training.sampling import PANNUKE_CELLS, PANNUKE_TISSUES, cellvit_weights, replication_weights

__all__ = [
    "OUR_CROPS",
    "SHARES",
    "augmentation",
    "augmentation_of",
    "colour_of",
    "crop_sampler",
    "first_spec",
    "image_weights",
    "options_of",
    "origin",
    "plan_in_steps",
    "start",
    "with_class_weights",
    "with_class_weights_of_plan",
    "with_fitting_sides",
]

SHARES: Mapping[str, float] = {card.name: card.share for card in DATASETS.values()}
"""How often crops are drawn from each set that is known by name."""

OUR_CROPS = Crops()
"""Without a plan."""


def first_spec(
    recipe: str,
    encoder: str | None = None,
    *,
    mpp: float | None = None,
    taxonomy: Taxonomy | None = None,
    options: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """The spec a recipe makes.

    Args:
        recipe: By name.
        encoder: In place of the recipe's own.
        mpp: Resolution it is to work at, µm/px, in place of the recipe's own.
        taxonomy: The classes it is to tell apart, the recipe's own where None; one without classes makes a model of
            outlines.
        options: Options of the recipe, by name (`recipes.options`).

    Raises:
        UnknownNameError: No such recipe or encoder.
        InputError: A recipe whose encoder or resolution is part of the method, or an option that it does not take.
        ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.
    """
    make = RECIPES[recipe]
    takes, given = inspect.signature(make).parameters, {"encoder": encoder, "mpp": mpp}
    given = {option: value for option, value in given.items() if value is not None}
    for option in given:
        if option not in takes:
            what = "an encoder" if option == "encoder" else "a resolution"
            raise InputError(f"The recipe '{recipe}' has {what} of its own and takes no other.")
        if options and option in options:
            raise InputError(f"The recipe's {option} is given twice, once among its options. Say it once.")
    spec = make_spec(recipe, {**(options or {}), **given}, taxonomy=taxonomy)
    return spec.with_changes(tissues=())  # our data states no tissues, so nothing would teach that head


def augmentation() -> Augmentation:
    """All eight orientations, strong stain and lamp variation, some loss of sharpness."""
    steps = [
        (1.0, dihedral),
        (0.8, stain_jitter),
        (0.5, brightness_contrast),
        (0.15, blur),
        (0.1, downscale),
        (0.15, noise),
    ]
    return Augmentation(steps)


def crop_sampler(
    spec: ModelSpec,
    samples: Sequence[Sample],
    *,
    seed: int,
    crops: Crops = OUR_CROPS,
    crop_px: int | None = None,
    share: tuple[int, int] = (0, 1),
    threads: int = 1,
) -> CropSampler:
    """Crops at the model's resolution: of 256 px, zoomed by 0.8–1.25 and varied in our own way, or as a plan has them.

    They are smaller where the images are: where more than a tenth of the crops would have to be filled up with white.

    Args:
        spec: Spec of the model.
        samples: Images to train on.
        seed: Seed of everything random.
        crops: How they are drawn and varied.
        crop_px: Side of a crop, however large the images are.
        share: See `CropSampler`.
        threads: See `CropSampler`.
    """
    own = crops.sampling == "sets"
    drawn: dict[str, Any] = (
        {"weights": SHARES} if own else {"image_weights": image_weights(crops, samples, spec.classes.names)}
    )
    sampler = CropSampler(
        samples,
        build_representation(spec.representation),
        augmentation_of(crops.augmentation, mpp=spec.mpp),
        mpp=spec.mpp,
        zoom=crops.zoom,
        tissues=spec.tissues,
        share=share,
        threads=threads,
        seed=seed,
        **drawn,
    )
    wanted = min(crops.crop_px, sampler.held_px) if crop_px is None else crop_px
    sampler.crop_px = fitting_crop_px(wanted, spec)
    return sampler


def augmentation_of(name: str, *, mpp: float) -> Augmentation:
    """The augmentation that a plan names; CellViT's at 0.5 µm/px is without the random sized crop."""
    if name == "none":
        return Augmentation([])
    if name == "cellvit":
        return cellvit_augmentation(crop=mpp < 0.375)
    if name == "cisca":
        return cisca_augmentation()
    return flips() if name == "flips" else augmentation()


def colour_of(name: str) -> Augmentation:
    """What of an augmentation leaves every pixel in its place, where a teacher's answer has been kept for it.

    Raises:
        InputError: It is not known of this one.
    """
    if name == "histocyte":
        return Augmentation([step for step in augmentation().steps if step[1] is not dihedral])
    if name == "cellvit":
        return cellvit_colour()
    if name in ("flips", "none"):
        return Augmentation([])
    raise InputError(
        f"The augmentation '{name}' moves pixels and colours together, and what a teacher says of a pixel is asked "
        "once. Take another: --plan-option augmentation=cellvit, flips, histocyte or none."
    )


def image_weights(crops: Crops, samples: Sequence[Sample], classes: Sequence[str]) -> NDArray[np.float64]:
    """(N,) how often a plan draws each image, in proportion to its area.

    Raises:
        InputError: A plan that draws by PanNuke's tissues and classes, for images or a model of others.
    """
    cells = _cells(samples, len(classes))
    if crops.sampling == "cellvit-pannuke":
        return _weights_of_pannuke(crops, samples, cells > 0, classes)
    if crops.sampling == "cellvit":
        names = sorted({s.tissue for s in samples})
        tissue = np.array([names.index(s.tissue) for s in samples])
        return cellvit_weights(tissue, cells > 0, gamma=crops.sampling_gamma)
    return replication_weights(cells) if crops.sampling == "replication" else np.ones(len(samples))


def _weights_of_pannuke(
    crops: Crops, samples: Sequence[Sample], present: NDArray[np.bool_], classes: Sequence[str]
) -> NDArray[np.float64]:
    """CellViT's weights by the counts in all of PanNuke."""
    tissues, names = list(PANNUKE_TISSUES), [plain_tissue(s.tissue) for s in samples]
    others = sorted({s.tissue or "none" for s, name in zip(samples, names, strict=True) if name not in tissues})
    others += sorted({name for name in classes if name.lower() not in PANNUKE_CELLS})
    if others:
        raise InputError(
            f"Images are to be drawn by how rare tissues and classes are in PanNuke, which does not have "
            f"{', '.join(others[:5])}. Draw by what the images at hand have: --plan-option sampling=cellvit."
        )
    return cellvit_weights(
        np.array([tissues.index(name) for name in names]),
        present,
        tissue_counts=np.array(list(PANNUKE_TISSUES.values())),
        cell_counts=np.array([PANNUKE_CELLS[name.lower()] for name in classes]),
        gamma=crops.sampling_gamma,
    )


def with_class_weights(spec: ModelSpec, plan: TrainingPlan, samples: Sequence[Sample]) -> ModelSpec:
    """A spec whose representation weighs classes as a plan says, by the cells there are to train on.

    Raises:
        InputError: Its representation weighs no classes.
    """
    if not plan.class_weights or not len(spec.classes):
        return spec
    if not hasattr(build_representation(spec.representation), "class_weights"):
        raise InputError(f"The maps '{spec.representation.name}' have no weights of classes, which the plan asks for.")
    counts = [int(n) for n in _cells(samples, len(spec.classes)).sum(axis=0)]
    if not any(counts):
        return spec  # no labels of classes, so nothing says which are rare
    options = {**spec.representation.options, "class_weights": list(class_weights(counts))}
    return spec.with_changes(representation=Part(name=spec.representation.name, options=options))


def with_class_weights_of_plan(spec: ModelSpec, samples: Sequence[Sample]) -> ModelSpec:
    """A spec that weighs classes if its recipe's published training does, for trainings that follow no plan."""
    plan = PLANS.get(spec.recipe, {}).get("published")
    return spec if plan is None else with_class_weights(spec, plan, samples)


def with_fitting_sides(spec: ModelSpec) -> ModelSpec:
    """A spec whose image sides are such as its encoder takes; seen on a network without memory.

    Raises:
        InputError: Its tiles do not fit them, or the encoder does not take images of every such size.
    """
    with torch.device("meta"):
        network = build_segmenter(spec).eval()
    step = int(network.encoder.info.multiple)  # type: ignore[union-attr, arg-type]
    multiple = math.lcm(spec.multiple, step)
    if spec.tile_px % multiple or 2 * spec.margin_px % multiple:
        raise InputError(
            f"This encoder works in steps of {step} px and the recipe '{spec.recipe}' in steps of {spec.multiple}, on "
            f"tiles of {spec.tile_px} px. Choose an encoder whose patches fit, or another recipe."
        )
    spec = spec.with_changes(multiple=multiple)
    odd = max(3, 128 // multiple | 1)
    height, width = odd * multiple, (odd + 2) * multiple
    channels = sum(each.channels for each in network.specs)
    try:
        with torch.inference_mode():
            shape = tuple(network(torch.empty(1, 3, height, width, device="meta")).shape)
        said = "" if shape == (1, channels, height, width) else f"maps of {shape[-2]} × {shape[-1]} px"
    except Exception as error:  # noqa: BLE001 (an encoder of another package may fail in any way)
        said = " ".join(str(error).split()) or type(error).__name__
    if said:
        name = spec.encoder.options.get("name", spec.encoder.name)
        raise InputError(
            f"The encoder '{name}' does not take images of every size in the recipe '{spec.recipe}': one of {height} × "
            f"{width} px ends in: {said}. Choose another (histocyte encoders list)."
        )
    return spec


def options_of(
    plan: TrainingPlan, sampler: CropSampler, *, batch: int | None = None, learning_rate: float | None = None
) -> dict[str, Any]:
    """The `TrainingOptions` of a plan on the images of a sampler; an epoch is as many crops as their area holds.

    Args:
        plan: How to train.
        sampler: Sampler of the plan's crops.
        batch: In place of the plan's.
        learning_rate: In place of the plan's.
    """
    return plan_in_steps(plan, crops_of_passes(sampler, 1), batch=batch, learning_rate=learning_rate)


def plan_in_steps(
    plan: TrainingPlan, crops: int, *, batch: int | None = None, learning_rate: float | None = None
) -> dict[str, Any]:
    """The `TrainingOptions` of a plan whose epoch has so many crops.

    Args:
        plan: How to train.
        crops: Whose area is that of all images.
        batch: In place of the plan's.
        learning_rate: In place of the plan's.
    """
    batch = batch or plan.batch
    epoch = max(1, round(crops / batch))
    return {
        "steps": epoch * plan.epochs,
        "batch": batch,
        "learning_rate": learning_rate or plan.learning_rate,
        "encoder_factor": plan.encoder_factor,
        "weight_decay": plan.weight_decay,
        "decay_all": True,
        "clip": plan.clip,
        "clip_each": plan.clip_each,
        "average_decay": plan.average_decay,
        "loss_weights": dict(plan.losses),
        "validate_every": epoch * plan.validate_epochs,
        "optimiser": plan.optimiser,
        "betas": plan.betas,
        "epsilon": plan.epsilon,
        "amsgrad": plan.amsgrad,
        "schedule": dict(plan.schedule),
        "epoch_steps": epoch,
        "frozen_steps": epoch * plan.frozen_epochs,
        "keep": plan.keep,
        "patience": plan.patience,
    }


def _cells(samples: Sequence[Sample], classes: int) -> NDArray[np.int64]:
    """(N, K) cells of each class in each image; of an image without classes none."""
    return np.array([s.class_counts(classes) for s in samples], np.int64).reshape(len(samples), classes)


def start(spec: ModelSpec, encoder_weights: str | Path | None, *, seed: int) -> Segmenter:
    """The network with its starting weights; the encoder's from where `load_encoder_weights` can have them."""
    torch.manual_seed(seed)
    model = build_segmenter(spec)
    if encoder_weights is not None:
        load_encoder_weights(model.encoder, encoder_weights)
    return model


def origin(model: Segmenter, encoder_weights: str | Path, *, included: bool) -> EncoderWeights:
    """How a spec names the weights that `start` has given the encoder."""
    path = find_weights(encoder_weights)
    return EncoderWeights(
        sha256=encoder_sha256(model.encoder.state_dict()),
        file=path.name,
        source="" if Path(encoder_weights).exists() else str(encoder_weights),
        included=included,
    )
