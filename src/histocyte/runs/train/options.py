"""What the options of `histocyte train` make of a recipe's plan, or leave of a recipe read from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from histocyte.core.errors import InputError
from histocyte.model.adapters import ATTENTION, MLP
from histocyte.model.build import build_representation
from histocyte.model.spec import ModelSpec
from histocyte.recipes.plan import TrainingPlan
from histocyte.recipes.plans import losses_of
from histocyte.runs.train.defaults import options_of
from histocyte.runs.train.resolved import ResolvedRecipe
from histocyte.runs.train.start import Start
from histocyte.training.adapt import check_adaptation
from histocyte.training.crops import CropSampler
from histocyte.training.feature_cache import crops_of_passes
from histocyte.training.options import TrainingOptions
from histocyte.training.terms import TISSUE_TERM, term_names

__all__ = ["Adaptation", "refuse_beside_a_recipe", "training_options"]


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How much of a pre-trained encoder is trained, and what of it the model file holds.

    Attributes:
        how: "full", "frozen", "last-N" or "lora" (`training.adapt`).
        rank: Rank of the adapters.
        mlp: Adapters on the MLPs too.
        cache: Folder for a frozen encoder's features.
        passes: How often the images' area is kept there.
        delta: Write the model without the encoder's published weights; where `how` is not "full", if None.
    """

    how: str = "full"
    rank: int = 8
    mlp: bool = False
    cache: Path | None = None
    passes: int = 8
    delta: bool | None = None

    @classmethod
    def again(cls, recipe: ResolvedRecipe, path: Path, cache: Path | None) -> Adaptation:
        """As a recipe has it that was read from a file; only where features are kept is not in there.

        Raises:
            InputError: A cache is missing, or one too many.
        """
        if recipe.training.cached_crops and cache is None:
            raise InputError(f"'{path}' trains on features that are kept on disk. Name a folder for them: --cache.")
        if cache is not None and not recipe.training.cached_crops:
            raise InputError(f"'{path}' runs the encoder in every step and keeps no features. Leave out --cache.")
        weights = recipe.model.encoder_weights
        delta = None if weights is None or recipe.started_from else not weights.included
        return cls(recipe.training.adapt, cache=cache, delta=delta)

    def check(self, beginning: Start) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: Says what.
        """
        check_adaptation(self.how)
        if self.how != "full" and not beginning.pretrained:
            raise InputError(
                f"--adapt {self.how} keeps weights of the encoder as they begin, and without --encoder-weights that is "
                "at random. Pass them, e.g. by the name of a card (histocyte encoders list), or ask for --adapt full."
            )
        if self.cache is not None and self.how != "frozen":
            raise InputError(f"--cache keeps a frozen encoder's features; with --adapt {self.how} they change.")
        if self.delta and beginning.model is not None:
            raise InputError(
                "--delta leaves out an encoder's published weights, and --start-from begins with others. Leave one out."
            )
        if self.delta and self.how == "full":
            raise InputError("--delta leaves out what was not trained, and --adapt full trains everything.")

    @property
    def leaves_out(self) -> bool:
        """Whether the model file lacks the published weights."""
        return self.how != "full" if self.delta is None else self.delta


def refuse_beside_a_recipe(path: Path, given: Mapping[str, object]) -> None:
    """Refuse options whose value a recipe's file has.

    Args:
        path: Path of the file.
        given: Value by option; None, False and nothing at all were not given.

    Raises:
        InputError: Says which were.
    """
    asked = [option for option, value in given.items() if value is not None and value is not False and value != []]
    if asked:
        raise InputError(
            f"--recipe {path} says everything of the training, {' and '.join(asked)} too. Leave "
            f"{'it' if len(asked) == 1 else 'them'} out, or change a copy of the file."
        )


def training_options(
    spec: ModelSpec,
    plan: TrainingPlan | None,
    crops: CropSampler,
    ways: Adaptation,
    *,
    steps: int | None = None,
    batch: int | None = None,
    validate_every: int | None = None,
    learning_rate: float | None = None,
    loss_weights: Mapping[str, float] | None = None,
) -> TrainingOptions:
    """The plan's options or our own, with those that were given in their place.

    Args:
        spec: Spec of the network.
        plan: None for our way.
        crops: Crops of the images to train on.
        ways: To train the encoder.
        steps: Batches to train for.
        batch: Crops in a batch.
        validate_every: Steps between validations.
        learning_rate: Its peak.
        loss_weights: By term, in place of the recipe's or the plan's.

    Raises:
        InputError: A weight of a term that there is not.
    """
    planned = {} if plan is None else options_of(plan, crops, batch=batch, learning_rate=learning_rate)
    fitting = {"steps": steps, "batch": batch, "learning_rate": learning_rate, "validate_every": validate_every}
    changed: dict[str, Any] = {
        **planned,
        **{name: value for name, value in fitting.items() if value is not None},
        "loss_weights": _loss_weights(spec, plan, loss_weights or {}),
        "seed": crops.seed,
        "adapt": ways.how,
        "lora_rank": ways.rank,
        "lora_targets": (*ATTENTION, *MLP) if ways.mlp else ATTENTION,
        "cached_crops": 0 if ways.cache is None else crops_of_passes(crops, ways.passes),
    }
    return replace(TrainingOptions(), **changed)


def _loss_weights(spec: ModelSpec, plan: TrainingPlan | None, changes: Mapping[str, float]) -> dict[str, float]:
    """The recipe's or the plan's weights of the loss terms with those given in their place."""
    representation = build_representation(spec.representation)
    weights = dict(representation.loss_weights if plan is None else losses_of(plan, spec))
    if not spec.tissues:
        weights.pop(TISSUE_TERM, None)
    terms = term_names(representation) if changes else ()
    for term, weight in changes.items():
        change = f"--loss-weight {term}={weight:g}" if isinstance(weight, float) else f"--loss-weight {term}={weight}"
        if term not in terms:
            raise InputError(f"{change}: no such term; there are {', '.join(terms)}.")
        if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise InputError(f"{change}: a weight is a number of 0 or more.")
        weights[term] = float(weight)
    return weights
