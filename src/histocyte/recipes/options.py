"""What a user may choose of a recipe and of the plan it is trained by, as NAME=VALUE: parsed, checked, described."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from histocyte.core.errors import InputError
from histocyte.core.plain_text import plain
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec
from histocyte.recipes.plan import Crops, TrainingPlan
from histocyte.recipes.registry import RECIPES
from histocyte.training.schedule import learning_rate_factor

__all__ = ["PLAN_OPTIONS", "RecipeOption", "changed_plan", "make_spec", "parsed", "recipe_options"]

_OWN_FLAGS = {
    "batch": "--batch",
    "learning_rate": "--learning-rate",
    "crop_px": "--crop-px",
    "adapt": "--adapt",
    "losses": "--loss-weight",
}
"""Parts of a plan that `histocyte train` has a flag of its own for."""

_OF_A_PLAN = [f.name for f in dataclasses.fields(TrainingPlan) if f.name not in ("source", "readings", *_OWN_FLAGS)]
_OF_CROPS = [f.name for f in dataclasses.fields(Crops) if f.name not in _OWN_FLAGS]

PLAN_OPTIONS: Sequence[str] = tuple(_OF_A_PLAN)
"""What `changed_plan` can change."""

_RANGES = {
    **dict.fromkeys(("epochs", "validate_epochs"), (1, math.inf)),
    **dict.fromkeys(("frozen_epochs", "patience", "weight_decay", "clip", "encoder_factor"), (0, math.inf)),
    **dict.fromkeys(("sampling_gamma", "average_decay", "epsilon"), (0, 1)),
}
"""Least and largest of what may be asked for."""


_LONG = 80
"""Characters from which on a value is not repeated whole in an error."""


@dataclass(frozen=True, slots=True)
class RecipeOption:
    """One option of a recipe.

    Attributes:
        name: As in NAME=VALUE.
        default: As text.
        meaning: A sentence on it; empty where the recipe does not say.
    """

    name: str
    default: str
    meaning: str


def parsed(texts: Sequence[str], *, flag: str = "--option") -> dict[str, Any]:
    """Values by name from "NAME=VALUE" each: JSON, several values with commas between them, or plain text.

    Args:
        texts: As typed.
        flag: Flag of the command line, for errors.

    Raises:
        InputError: One without a name or "=", or a name twice.

    >>> parsed(["taps=3,6,9,12", "shared=true", "mode=fast"])
    {'taps': [3, 6, 9, 12], 'shared': True, 'mode': 'fast'}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{flag} {text}: expected NAME=VALUE.")
        if name.strip() in found:
            raise InputError(f"{flag} names {name.strip()} twice. Say it once.")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    for candidate in (text, f"[{text}]" if "," in text else text, text.lower()):
        try:
            return json.loads(candidate, parse_constant=_no_number)
        except (ValueError, RecursionError):
            continue
    return [part.strip() for part in text.split(",")] if "," in text else text


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def recipe_options(recipe: str) -> list[RecipeOption]:
    """The options of a recipe with their defaults and meanings, from its signature and docstring.

    Raises:
        UnknownNameError: No such recipe.
    """
    make = RECIPES[recipe]
    meanings = _meanings(inspect.getdoc(make) or "")
    return [
        RecipeOption(
            p.name, "" if p.default is p.empty else _as_typed(p.default), " ".join(meanings.get(p.name, "").split())
        )
        for p in inspect.signature(make).parameters.values()
        if p.name != "taxonomy" and p.kind is not p.VAR_KEYWORD
    ]


def _meanings(text: str) -> dict[str, str]:
    """What a docstring in Google's style says under "Args"."""
    _, _, rest = text.partition("\nArgs:\n")
    body = re.split(r"\n(?=\S)", rest)[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", body, re.MULTILINE)
    return dict(entries)


def _as_typed(value: Any) -> str:
    """A default as one would type it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else ""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _said(value: Any) -> str:
    """A value as typed, in one line that is not too long."""
    text = plain(_as_typed(value), one_line=True)
    return text if len(text) < _LONG else f"{text[: _LONG - 1]}…"


def make_spec(recipe: str, options: Mapping[str, Any], *, taxonomy: Taxonomy | None = None) -> ModelSpec:
    """The spec that a recipe makes with some options.

    Args:
        recipe: By name.
        options: Values by name, as `parsed` gives them.
        taxonomy: The classes it is to tell apart, the recipe's own where None; one without classes makes a model of
            outlines.

    Raises:
        UnknownNameError: No such recipe, encoder or other thing that an option names.
        InputError: An option that the recipe does not take, or a value that it cannot have.
    """
    make = RECIPES[recipe]
    known = [option.name for option in recipe_options(recipe)]
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"The recipe '{recipe}' takes no {', '.join(unknown)}; it takes {', '.join(known)}.")
    given = {name: _checked(recipe, name, value, _hints(make).get(name)) for name, value in options.items()}
    said = ", ".join(f"{name}={_said(value)}" for name, value in given.items())
    told: dict[str, Any] = {} if taxonomy is None else {"taxonomy": taxonomy}
    try:
        spec: ModelSpec = make(**told, **given)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{place}: " for place in first["loc"])
        raise InputError(f"The recipe '{recipe}' cannot be made with {said}: {where}{first['msg']}.") from error
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise InputError(f"The recipe '{recipe}' cannot be made with {said}: {error}.") from error
    return spec


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(make)
    except (NameError, TypeError):  # another package's, whose types are not there when it runs
        return {}


def _checked(what: str, name: str, value: Any, hint: Any) -> Any:
    """A value of the type that is wanted; one alone is taken for a list of one where a list is.

    Raises:
        InputError: It cannot be one.
    """
    if hint is None:
        return value
    kind = TypeAdapter(hint)
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        try:
            return kind.validate_python([value])
        except ValidationError:
            why = " ".join(error.errors()[0]["msg"].split())
            raise InputError(f"{name}={_said(value)} is none that '{what}' can have: {why}.") from error


def changed_plan(plan: TrainingPlan | Crops, changes: Mapping[str, Any]) -> Any:
    """A plan with some of its options changed; of our own way, which is no plan, what crops are drawn and how.

    Args:
        plan: A plan, or the crops of the way that has none.
        changes: Values by name; `schedule.NAME` is an option of the learning rate's schedule.

    Returns:
        The same kind of thing.

    Raises:
        InputError: No such option, one with a flag of its own, or a value that cannot be.

    >>> changed_plan(Crops(), {"sampling": "area"}).sampling
    'area'
    """
    known = _OF_A_PLAN if isinstance(plan, TrainingPlan) else _OF_CROPS
    hints = get_type_hints(type(plan))
    changed: dict[str, Any] = {}
    schedule = dict(plan.schedule) if isinstance(plan, TrainingPlan) else {}
    for name, value in changes.items():
        head, dot, tail = name.partition(".")
        if name in _OWN_FLAGS:
            raise InputError(f"--plan-option {name}: that has a flag of its own, {_OWN_FLAGS[name]}.")
        if head not in known or dot and head != "schedule":
            without = "" if isinstance(plan, TrainingPlan) else "without a published plan "
            raise InputError(f"--plan-option {name}: no such option; {without}there are {', '.join(known)}.")
        if dot:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise InputError(f"--plan-option {name}={_said(value)}: a number of 0 or more is needed.")
            schedule[tail] = value
        elif head == "schedule":
            schedule = {"name": value} if isinstance(value, str) else dict(_checked("the plan", name, value, dict))
        else:
            changed[name] = _checked("the plan", name, value, hints[name])
            _check_range(name, changed[name])
    if isinstance(plan, TrainingPlan):
        learning_rate_factor(schedule, 0, 1, epoch_steps=1)
        changed["schedule"] = schedule
    return dataclasses.replace(plan, **changed)


def _check_range(name: str, value: Any) -> None:
    least, most = _RANGES.get(name, (-math.inf, math.inf))
    if isinstance(value, (int, float)) and not least <= value <= most:
        limit = f"from {least:g} to {most:g}" if math.isfinite(most) else f"{least:g} or more"
        raise InputError(f"--plan-option {name}={value:g}: it can be {limit}.")
    if name == "zoom" and not 0 < value[0] <= value[1] < math.inf:
        raise InputError(f"--plan-option zoom={value[0]:g},{value[1]:g}: it is a range of numbers above 0.")
    if name == "betas" and not all(0 <= beta < 1 for beta in value):
        raise InputError(f"--plan-option betas={value[0]:g},{value[1]:g}: both are from 0 to below 1.")
