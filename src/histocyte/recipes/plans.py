"""How the recipes' methods are trained where they were published: plans by recipe and name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.model.spec import ModelSpec
from histocyte.recipes.plan import TrainingPlan

__all__ = ["OURS", "PLANS", "find_plan", "losses_of"]

OURS = "ours"
"""Name of the training that is the default: one for all recipes, made for hundreds of images and short runs."""

_SCORE = "what the learning rate goes by is our validation score, not the validation loss"
_PRECISION = "computed in bfloat16 where the device is quick at it, not in float16 with a scaled loss"
_DROPS = (
    "nothing of the encoder is left out at random; published runs of CellViT-256 left out a tenth of its blocks and "
    "attention (--option drop_path=0.1 --option attention_drop=0.1)"
)
_CELLVIT = "Hörst et al. 2024, CellViT (doi 10.1016/j.media.2024.103143), its code's configurations and logs"

_HOVER_LOSSES = {
    "nucleus_focal_tversky": 1.0,
    "nucleus_dice": 1.0,
    "hover_mse": 2.5,
    "hover_msge": 8.0,
    "types_ce": 0.5,
    "types_dice": 0.2,
    "types_focal_tversky": 0.5,
    "tissue_ce": 0.1,
}
_TWICE = {
    "nucleus_focal_tversky": "nucleus_focal_tversky_double_softmax",
    "types_focal_tversky": "types_focal_tversky_double_softmax",
    "hover_msge": "hover_msge_ij",
}

_cellvit = TrainingPlan(
    source=_CELLVIT,
    optimiser="adamw",
    learning_rate=3e-4,
    betas=(0.85, 0.95),
    weight_decay=1e-4,
    schedule={"name": "exponential", "gamma": 0.95},
    batch=16,
    epochs=130,
    frozen_epochs=25,
    validate_epochs=10,
    losses=_HOVER_LOSSES,
    sampling="cellvit",
    augmentation="cellvit",
    readings=(
        "the learning rate falls by 0.95 an epoch, as every published run did; the paper states 0.85 (--plan-option "
        "schedule.gamma=0.85)",
        "sampling counts tissues and classes of the images at hand; published are the counts of all of PanNuke "
        "(--plan-option sampling=cellvit-pannuke); an image without cells gets the least weight of those with",
        "a frozen encoder runs as at inference; tissues are learnt where images.csv states them",
        "one softmax, and gradients along their own axis; 'as-run' has two and the axes exchanged, as the code",
        _DROPS,
        _PRECISION,
    ),
)
_cellvit_as_run = replace(
    _cellvit,
    losses={_TWICE.get(term, term): weight for term, weight in _HOVER_LOSSES.items()},
    readings=(
        "as 'published', with what the code computes: softmax twice before the focal Tversky losses, and the hover "
        "maps differentiated along the other axis",
    ),
)
_TYPES = {"types_ce": 0.5, "types_dice": 0.2, "types_focal_tversky": 0.5}
_cellvit_star = replace(
    _cellvit,
    losses={"nucleus_bce": 1.0, "rays_l1": 1.0, **_TYPES},
    readings=(
        "no loss for tissues",
        *_cellvit.readings[:2],
        "α and β of the focal Tversky loss are those of the models with hover maps: the paper's text has lost them",
        _DROPS,
        _PRECISION,
    ),
)
_cellvit_star_cpp = replace(
    _cellvit_star,
    optimiser="adam",
    learning_rate=1e-4,
    betas=(0.9, 0.999),
    weight_decay=0.0,
    schedule={"name": "constant"},
    frozen_epochs=0,
    losses={"nucleus_bce": 1.0, "rays_l1": 1.0, "types_ce": 1.0, "types_dice": 1.0},
    sampling="area",
    augmentation="flips",
    readings=(
        "the paper's ablation with CPP-Net's settings; the learning rate halves on a plateau, which no run of it met",
        "weight decay is not stated: none",
        _PRECISION,
    ),
)
_INITIAL = {"rays_initial_l1": 1.0}

_cppnet = replace(
    _cellvit_star_cpp,
    source="Chen et al. 2023, CPP-Net (doi 10.1109/TIP.2023.3237013), its code's defaults; StarDist as its baseline",
    weight_decay=5e-5,
    batch=6,
    schedule={"name": "plateau", "gamma": 0.5, "patience": 10},
    validate_epochs=1,
    keep="best",
    readings=(
        "the number of epochs is not stated: CellViT's 130",
        "five epochs of pre-training with the true rays are left out",
        "colour images stay in colour",
        _SCORE,
    ),
)

_hovernet = TrainingPlan(
    source="Graham et al. 2019, HoVer-Net (doi 10.1016/j.media.2019.101563), and its authors' code (vqdang/hover_net: "
    "the TensorFlow release and the PyTorch one)",
    optimiser="adam",
    learning_rate=1e-4,
    schedule={"name": "steps", "gamma": 0.1, "epochs": 25, "restart": 50},
    batch=8,
    epochs=100,
    frozen_epochs=50,
    losses={
        "nucleus_bce": 1.0,
        "nucleus_dice": 1.0,
        "hover_mse": 1.0,
        "hover_msge": 2.0,
        "types_ce": 1.0,
        "types_dice": 1.0,
    },
    augmentation="histocyte",
    zoom=(0.8, 1.2),
    keep="best",
    readings=(
        "50 epochs of the decoders, then 50 of all, each at 1e-4 and after 25 at 1e-5, with one optimiser throughout; "
        "published begins with a new one",
        "batches are of 8: published are 8 in the first phase and 4 in the second on each of two GPUs, so 16 and 8",
        "sources disagree on which hover loss weighs 2: that of the gradients by the paper (taken here), the squared "
        "error by its TensorFlow code, neither by the PyTorch code; all other terms weigh 1",
        "in the first phase the whole encoder stays, its batch statistics too; in the code those and its first "
        "convolution move",
        "crops are of 256 px, predicted whole; published are 270 px, of which the middle 80 are predicted, or 256 and "
        "164",
        "zoom is the code's; turns are by quarters, published by any angle with shear up to 5°; blur, noise and colour "
        "are ours, which go further",
        "the weights kept are the best by our validation score; published by Dice",
    ),
)

_cisca = TrainingPlan(
    source="Vadori et al. 2024, CISCA (arXiv 2409.04175), its code's defaults",
    optimiser="adam",
    learning_rate=5e-4,
    epsilon=1e-7,
    amsgrad=True,
    clip=1e-3,
    clip_each=True,
    schedule={"name": "plateau", "gamma": 0.5, "patience": 10},
    batch=4,
    epochs=300,
    patience=20,
    keep="best",
    # Of 14 for six terms; a model without classes has the same proportions.
    losses={
        "semantic_ce": 2 / 14,
        "contour_dice": 1 / 14,
        "body_dice": 2 / 14,
        "distance_mae": 2 / 14,
        "distance_msge": 2 / 14,
        "types_ce": 5 / 14,
        "types_tversky": 5 / 14,
    },
    class_weights=True,
    sampling="replication",
    augmentation="cisca",
    readings=(
        "copies of rare images are a weight in drawing them; on PanNuke both make 2.8 times as many images",
        "the formula of the class weights is not stated: √(median / count), mean 1, at most 10",
        "stains are not normalised to the authors' template, which is not published: all stain variation is random",
        "the Tversky loss is summed over each class, not pixel by pixel, which teaches little where a class is not",
        _SCORE,
    ),
)
_frozen_encoder = replace(
    _cisca,
    adapt="frozen",
    source="Vadori et al. 2025, Mind the Gap (arXiv 2502.02471), which states no training; CISCA's, whose decoder and "
    "targets it takes (arXiv 2409.04175)",
    readings=("optimiser, schedule and length are CISCA's: the paper's are not public", *_cisca.readings),
)

_LIGHTWEIGHT = "Shvetsov et al. 2025 (arXiv 2502.19217), and the library it builds on (cellseg_models.pytorch)"
_lightweight = TrainingPlan(
    source=_LIGHTWEIGHT,
    optimiser="adamw",
    learning_rate=5e-4,
    weight_decay=1e-4,
    schedule={"name": "cosine", "least": 2e-3},
    batch=32,
    epochs=100,
    losses={"nucleus_bce": 1.0, "flow_mse": 2.0, "types_focal": 1.0, "types_ce_svls_sd": 1.0},
    class_weights=True,
    augmentation="cellvit",
    keep="best",
    crop_px=224,
    readings=(
        "learning rate (5e-4 to 1e-6), length, batch and augmentation are not stated: the usual ones",
        "the weights of the losses are not stated: 1 each; flow_mse is half a mean square, so it has 2",
        "the class weights' formula is not stated: √(median / count), mean 1, at most 10, background 1",
        "nucleus_bce counts only where a nucleus' class is unknown, which the published data does not have",
        "crops of 224 px, the encoder's own size: published patches of 256 px are no whole number of its patches of 14 "
        "px (--crop-px 252 comes nearest)",
    ),
)

_cellpose = TrainingPlan(
    source="Stringer et al. 2021, Cellpose (doi 10.1038/s41592-020-01018-x), and its authors' code "
    "(MouseLand/cellpose)",
    optimiser="sgd",
    learning_rate=0.2,
    weight_decay=1e-5,
    # From 0 in the first epoch to all of it in the tenth.
    schedule={"name": "ramp_and_halve", "warmup": 9, "halvings": 10, "every": 10},
    batch=8,
    epochs=500,
    losses={"nucleus_bce": 1.0, "flow_mse": 1.0, "types_ce": 1.0, "types_dice": 0.2},
    augmentation="flips",
    validate_epochs=10,
    crop_px=224,
    zoom=(0.75, 1.25),
    readings=(
        "images are turned by quarters only, so that labels stay exact; published is any angle",
        "the learning rate halves every 10 of the last 100 epochs, as in the authors' present code; that of the "
        "paper's time begins 10 epochs later, so that 500 epochs meet nine halvings of ten",
        "an epoch is as many crops as the images' area holds; published is one crop of each image",
        "published images are scaled to cells of one diameter (30 px) and then by 0.75–1.25; here their resolution is "
        "the model's instead",
        "published results are the mean of four networks",
        "the loss of classes is ours: the method has none",
    ),
)
_pathsegdiff = TrainingPlan(
    source="Danisetty et al. 2025, PathSegDiff (arXiv 2504.06950)",
    optimiser="adamw",
    learning_rate=1e-3,
    weight_decay=1e-4,
    schedule={"name": "cosine"},
    batch=16,
    epochs=100,
    keep="best",
    adapt="frozen",
    losses={"types_ce": 1.0, "types_dice": 1.0},
    augmentation="histocyte",
    readings=(
        "of the training only is public that the diffusion model stays frozen and a light head learns: optimiser, "
        "rate, length, losses and augmentation are ours",
        "step 50 and blocks 4, 7 and 10 of the way up: neither is stated (--option timestep=100 --option taps=4,7,10)",
        "the region's embedding is zeros, as in a tenth of the diffusion model's own training",
        "the noise is drawn afresh in training, and always the same when a model is used",
    ),
)
_tissue = replace(
    _pathsegdiff,
    adapt="full",
    encoder_factor=0.3,
    readings=(
        "of the training only is public that a light head learns over a frozen diffusion model: optimiser, rate, "
        "length, losses and augmentation are ours, the same for each of the networks that it is compared with",
        "all of the encoder is trained, at 0.3 of the rate; --adapt frozen leaves it as it is",
    ),
)

PLANS: Mapping[str, Mapping[str, TrainingPlan]] = {
    "cellvit": {"published": _cellvit, "as-run": _cellvit_as_run},
    "cellvit_stardist": {"published": _cellvit_star, "cppnet": _cellvit_star_cpp},
    "cellvit_cppnet": {
        "published": replace(_cellvit_star, losses={**_cellvit_star.losses, **_INITIAL}),
        "cppnet": replace(
            _cellvit_star_cpp,
            losses={"nucleus_bce": 1.0, "rays_l1": 1.0, **_INITIAL, **_TYPES},
            augmentation="cellvit",
        ),
    },
    "stardist": {"published": _cppnet},
    "hovernet": {"published": _hovernet},
    "cisca": {"published": _cisca},
    "frozen_encoder": {"published": _frozen_encoder},
    "lightweight_teacher": {"published": replace(_lightweight, adapt="frozen")},
    "lightweight_student": {
        "published": replace(
            _lightweight,
            crop_px=256,
            readings=(
                "by labels alone; the paper distils it from the teacher: histocyte distil",
                *_lightweight.readings[:-1],
                "crops of 256 px, the encoder's own size; what it was trained with is not stated",
            ),
        )
    },
    "cellpose": {"published": _cellpose},
    "pathsegdiff": {"published": _pathsegdiff},
    "tissue_dpt": {"published": _tissue},
    "tissue_fcn": {"published": _tissue},
    "tissue_fcn8": {"published": _tissue},
    "tissue_unet": {"published": _tissue},
}
"""Recipe → name → plan; `OURS` is there for every recipe and is none of these."""


def losses_of(plan: TrainingPlan, spec: ModelSpec) -> dict[str, float]:
    """Weights of a plan's loss terms for a model; rays measured again learn from both measurements (CPP-Net)."""
    losses = dict(plan.losses)
    if spec.representation.options.get("refined") and "rays_l1" in losses:
        losses.setdefault("rays_initial_l1", losses["rays_l1"])
    return losses


def find_plan(recipe: str, name: str) -> TrainingPlan | None:
    """A recipe's plan by name; None for `OURS`.

    Raises:
        InputError: The recipe has no published training.
        UnknownNameError: It has none of that name.
    """
    if name == OURS:
        return None
    plans = PLANS.get(recipe, {})
    if not plans:
        raise InputError(
            f"There is no plan '{name}' for the recipe '{recipe}': no training of it was published. Train it "
            f"with --plan {OURS}."
        )
    if name not in plans:
        raise UnknownNameError(f"plan for '{recipe}'", name, (OURS, *plans))
    return plans[name]
