"""A run's recipe with nothing left open: network, options, and the crops it sees; written beside a run and read back.

What is read is data. It names parts by their registered names, as a model file does, and nothing in it is run.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.version import __version__
from histocyte.decoders.registry import DECODERS, HEADS
from histocyte.encoders.registry import ENCODERS
from histocyte.files.foreign import foreign_parser
from histocyte.model.build import build_representation, build_segmenter
from histocyte.model.spec import ModelSpec
from histocyte.recipes.plan import Crops
from histocyte.recipes.plans import OURS
from histocyte.recipes.registry import RECIPES
from histocyte.representations.registry import REPRESENTATIONS
from histocyte.training.adapt import check_adaptation
from histocyte.training.options import TrainingOptions
from histocyte.training.schedule import learning_rate_factor
from histocyte.training.terms import TISSUE_TERM, term_names

__all__ = ["ResolvedRecipe"]

_ANY = math.inf
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("steps", "batch", "validate_every", "lora_rank"), (1, _ANY)),
    **dict.fromkeys(("epoch_steps", "frozen_steps", "patience", "cached_crops", "divergence_steps"), (0, _ANY)),
    **dict.fromkeys(("checkpoint_every", "checkpoint_minutes"), (0, _ANY)),
    **dict.fromkeys(("encoder_factor", "weight_decay", "clip", "lora_alpha", "divergence_factor", "seed"), (0, _ANY)),
    **dict.fromkeys(("epsilon", "average_decay", "sampling_gamma", "learning_rate"), (0, 1)),
    "crop_px": (16, 4096),
    "validation": (0.01, 0.9),
}
"""Least and largest of what a file may say."""

_NEWER = ("fold", "left_out", "options", "plan_options")
"""What files of earlier versions do not say."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRecipe:
    """All that decides a training, but data, starting weights and machine.

    Attributes:
        model: The network, with the classes' weights where a plan has them.
        training: Every option, in steps.
        crops: How they are drawn and varied.
        plan: By which name it was asked for.
        validation: Share of the patients or slides held out.
        fold: Number of the part of them that is held out instead, and number of parts.
        left_out: Names of the images kept for a test at the end.
        started_from: Name and SHA-256 of the model file it goes on from; empty where from none.
        options: Options of the recipe, as they were asked for; the model has them already.
        plan_options: What was asked of the plan otherwise than it says; training and crops have it already.
    """

    model: ModelSpec
    training: TrainingOptions
    crops: Crops
    plan: str = OURS
    validation: float = 0.2
    started_from: Mapping[str, str] = field(default_factory=dict)
    fold: tuple[int, int] | None = None
    left_out: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    plan_options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """In plain values, as `read` takes them."""
        return {"model": self.model.model_dump(mode="json"), "training": asdict(self.training), **self.further()}

    def further(self) -> dict[str, Any]:
        """What `to_json` has beside the model and its training."""
        return {
            "crops": asdict(self.crops),
            "plan": self.plan,
            "validation": self.validation,
            "fold": self.fold,
            "left_out": list(self.left_out),
            "started_from": dict(self.started_from),
            "options": dict(self.options),
            "plan_options": dict(self.plan_options),
        }

    @classmethod
    def read(cls, path: Path) -> ResolvedRecipe:
        """The recipe in a file, checked as far as it can be without data and weights.

        Options that the file lacks have their defaults, since a later version may add some.

        Raises:
            InputError: No such file, not a recipe, or one with values that cannot be; says which.
            UnknownNameError: It names a recipe, part, option or loss term that there is not.
        """
        data = _plain(path)
        known = [f.name for f in fields(cls)]
        _refuse_others("entry of a recipe", data, known, path)
        training = _part(TrainingOptions, data, "training", path)
        if any(name.startswith("distil_") for name in training.loss_weights):
            raise InputError(f"'{path}' was written by `histocyte distil`, which is to be called as it was then.")
        missing = [name for name in known if name not in data and name not in _NEWER]
        if missing:
            raise InputError(f"'{path}' does not say {', '.join(missing)}; an earlier version may have written it.")
        model = ModelSpec.parse(json.dumps(data["model"]), where=str(path))
        rest = _typed(_Rest, {f.name: data[f.name] for f in fields(_Rest) if f.name in data}, "", path)
        recipe = cls(
            model=model.with_changes(histocyte=__version__),
            training=training,
            crops=_part(Crops, data, "crops", path),
            plan=rest.plan,
            validation=rest.validation,
            started_from=rest.started_from,
            fold=rest.fold,
            left_out=rest.left_out,
            options=rest.options,
            plan_options=rest.plan_options,
        )
        recipe._check(path)
        return recipe

    def _check(self, path: Path) -> None:
        where = f"'{path}'"
        if self.model.recipe not in RECIPES:
            raise UnknownNameError("recipe", self.model.recipe, RECIPES, hint=f"{where} names it.")
        for kind, part in (
            *((ENCODERS, self.model.encoder), (DECODERS, self.model.decoder)),
            *((HEADS, self.model.heads), (REPRESENTATIONS, self.model.representation)),
        ):
            if part.name not in kind:
                raise UnknownNameError(kind.kind, part.name, kind, hint=f"{where} names it.")
        values = {**asdict(self.training), **asdict(self.crops), "validation": self.validation}
        for name, (least, most) in _RANGES.items():
            if not least <= values[name] <= most:
                limit = f"from {least:g} to {most:g}" if most < _ANY else f"{least:g} or more"
                raise InputError(f"{where}: {name} is {values[name]}, and it can be {limit}.")
        low, high = self.crops.zoom
        if not 0 < low <= high:
            raise InputError(f"{where}: zoom is {low:g}–{high:g}, and it is a range of numbers above 0.")
        if self.fold is not None and not (1 <= self.fold[0] <= self.fold[1] >= 2):
            raise InputError(f"{where}: fold is {list(self.fold)}, and it is its number and how many there are.")
        if self.started_from and set(self.started_from) != {"name", "sha256"}:
            raise InputError(f"{where}: started_from has a name and a sha256, or nothing.")
        said = f"{where}: of its options no training can be made"
        with foreign_parser(lambda why: InputError(f"{said}: {why}."), place=where):
            self._check_works()
        self._check_losses(where)

    def _check_works(self) -> None:
        options = self.training
        check_adaptation(options.adapt)
        learning_rate_factor(options.schedule, 0, options.steps, epoch_steps=options.epoch_steps)
        with torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("error", message="Initializing zero-element tensors")  # of layers without a width
            build_segmenter(self.model)

    def _check_losses(self, where: str) -> None:
        terms = {*term_names(build_representation(self.model.representation)), TISSUE_TERM}
        for term, weight in self.training.loss_weights.items():
            if term not in terms:
                raise UnknownNameError("loss term", term, terms, hint=f"{where} weighs it.")
            if weight < 0:
                raise InputError(f"{where}: the loss term {term} weighs {weight:g}; a weight is a number of 0 or more.")


@dataclass(frozen=True, slots=True)
class _Rest:
    """What stands in the file beside its three parts."""

    plan: str
    validation: float
    started_from: dict[str, str]
    fold: tuple[int, int] | None = None
    left_out: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    plan_options: dict[str, Any] = field(default_factory=dict)


def _plain(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_finite, parse_float=_finite)
    except OSError as error:
        raise InputError(f"The recipe '{path}' cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not a recipe of a run (recipe.json), it is not valid JSON: {error}.") from error
    if not isinstance(data, dict) or "training" not in data:
        raise InputError(f"'{path}' is not a recipe of a run (recipe.json): it says nothing of a training.")
    return data


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _part(kind: type[_T], data: Mapping[str, Any], name: str, path: Path) -> _T:
    if name in data and isinstance(data[name], dict):
        known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
        _refuse_others(f"option in '{name}'", data[name], known, path)
    return _typed(kind, data.get(name), name, path)


def _typed(kind: type[_T], data: Any, name: str, path: Path) -> _T:
    """Values of the types that the fields of a dataclass have.

    Raises:
        InputError: Another type.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in (name, *first["loc"]) if p != "")
        raise InputError(f"'{path}' is not a recipe of a run (recipe.json): {place}: {first['msg']}.") from error


def _refuse_others(kind: str, data: Mapping[str, Any], known: Iterable[str], path: Path) -> None:
    for name in data:
        if name not in known:
            raise UnknownNameError(kind, name, known, hint=f"'{path}' names it.")
