"""How a run is done, and that a run which goes on is done as it began."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from histocyte.core.errors import InputError
from histocyte.model.adapters import ATTENTION
from histocyte.training.journal import difference, read_json, write_json
from histocyte.training.precision import Precision

__all__ = ["TrainingOptions", "check_same_recipe", "check_same_run"]

_FREE = {
    *("steps", "device", "precision", "validate_every", "checkpoint_every", "checkpoint_minutes"),
    *("divergence_factor", "divergence_steps"),
}
"""What may differ when a run goes on: a longer run may follow from a shorter one."""


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a run is done; saved with it."""

    steps: int = 4000
    batch: int = 16
    """Crops of a step; with several processes, of all of them together."""
    learning_rate: float = 1e-3
    encoder_factor: float = 0.3
    """Learning rate of the pre-trained encoder, as a share of the decoder's: it needs to move less."""
    weight_decay: float = 1e-4
    clip: float = 5.0
    """Largest norm of the gradient; a rare crop full of tiny nuclei would throw the weights otherwise. 0: any."""
    average_decay: float = 0.999
    """Decay of the moving average of the weights that is validated and kept; 0: the weights themselves."""
    adapt: str = "full"
    """How much of the encoder is trained: full, frozen, last-N or lora (`training.adapt`)."""
    frozen: tuple[str, ...] = ()
    """Further modules that stay as they are, by name prefix, e.g. the first layers of a pre-trained encoder."""
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ATTENTION
    """Linear layers of the encoder that get an adapter, by pattern."""
    cached_crops: int = 0
    """Number of crops whose features are kept (`training.feature_cache`); 0 where the encoder runs in every step."""
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight by loss term; the representation's own where empty."""
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 0
    """After every so many steps the state is written, 0: never for that; and whenever the weights are validated, …"""
    checkpoint_minutes: float = 5.0
    """… and when the last was written so long ago: what a kill costs does not depend on how long a step takes."""
    device: str = "cpu"
    precision: Precision = "auto"
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    """Betas of Adam; the first is the momentum of "sgd"."""
    epsilon: float = 1e-8
    amsgrad: bool = False
    decay_all: bool = False
    """Weight decay on biases and norms too, as torch's optimisers have it unless told otherwise. Not by default: it
    would only shift what the next layer sees."""
    clip_each: bool = False
    """`clip` is the largest norm of each tensor's gradient by itself, as Keras has it."""
    schedule: Mapping[str, Any] = field(default_factory=dict)
    """Name and options of the learning rate's schedule (`training.schedule`); where empty: warm up, hold, cool down."""
    epoch_steps: int = 0
    """Steps of an epoch, for schedules by epoch; 0 where nothing goes by epochs."""
    frozen_steps: int = 0
    """For so many steps at first the encoder stays as it is."""
    keep: Literal["best", "last"] = "best"
    """Which validated weights are the run's result: those of the best score, or the last."""
    patience: int = 0
    """After so many validations without a better score the run ends; 0: never."""
    divergence_factor: float = 5.0
    """Above so many times its usual value the loss is too large (`training.watch`); 0: never."""
    divergence_steps: int = 50
    """After so many such steps in a row the run ends."""


def check_same_run(run: Path, options: TrainingOptions, loss_weights: Mapping[str, float]) -> None:
    """Write options.json, or see that it is the same run; a run of an earlier version lacks newer options.

    Args:
        run: Folder.
        options: Options of the run that begins or goes on.
        loss_weights: The representation's own, where the options name none.

    Raises:
        InputError: The folder holds a run with other options.
        DiskError: It cannot be written.
    """
    path = run / "options.json"
    mine = json.loads(json.dumps(asdict(options)))
    mine["loss_weights"] = dict(options.loss_weights or loss_weights)
    if path.exists():
        # A run of an earlier version was done by what are the defaults now.
        theirs = {**json.loads(json.dumps(asdict(TrainingOptions()))), **read_json(path)}
        theirs["loss_weights"] = theirs["loss_weights"] or dict(loss_weights)
        other = [k for k in mine if k not in _FREE and mine[k] != theirs[k]]
        if other:
            listed = ", ".join(difference(k, theirs[k], mine[k]) for k in other)
            raise InputError(f"'{run}' holds a run with other options ({listed}). Use them, or another folder.")
    write_json(path, mine)


_OF_THE_NETWORK = ("encoder", "decoder", "heads", "representation", "taxonomy", "tissues", "mpp", "mean", "std")
"""What recipe.json says of a model that its weights depend on."""


def check_same_recipe(run: Path, recipe: Mapping[str, Any]) -> None:
    """See that a run goes on with the network, at the resolution and on the crops that recipe.json there says.

    Args:
        run: Folder.
        recipe: What is now to be written there.

    Raises:
        InputError: They are others, or the file is damaged.
    """
    path = run / "recipe.json"
    if not path.exists():
        return
    theirs, mine = read_json(path), json.loads(json.dumps(recipe))
    other = [
        _difference(key, part[key], value)
        for part, now, keys in (
            (_mapping(theirs, "model"), mine["model"], _OF_THE_NETWORK),
            (_mapping(theirs, "crops"), mine.get("crops", {}), mine.get("crops", {})),
        )
        for key, value in now.items()
        if key in keys and key in part and part[key] != value
    ]
    if other:
        raise InputError(
            f"'{run}' holds a run of another network or on other crops ({', '.join(other)}). Use the same, or another "
            "folder."
        )


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = data.get(key)
    return part if isinstance(part, dict) else {}


def _difference(key: str, theirs: object, mine: object) -> str:
    short = not isinstance(theirs, (dict, list)) and not isinstance(mine, (dict, list))
    return difference(key, theirs, mine) if short else key
