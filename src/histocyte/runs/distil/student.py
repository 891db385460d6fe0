"""The student of a distillation: what a recipe makes, with its teacher's classes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from histocyte.core.errors import InputError
from histocyte.model.spec import ModelSpec
from histocyte.recipes.fitting import refitted
from histocyte.recipes.registry import RECIPES

__all__ = ["student_spec"]

_OF_THE_NETWORK = ("classes", "nucleus_channels", "refined", "losses", "class_weights", "foreground")
"""Options of a representation that decide what a network predicts or how it learns, and not how its maps are read."""


def student_spec(recipe: str, teacher: ModelSpec, encoder: str | None, options: Sequence[str], name: str) -> ModelSpec:
    """The student that a recipe makes, with its teacher's classes.

    A student of the teacher's scheme is also read by the teacher's constants, at its own resolution: its maps will be
    like the teacher's.

    Args:
        recipe: By name.
        teacher: The first one.
        encoder: In place of the recipe's own.
        options: Of the recipe, "name=value" each, values as in JSON or plain text.
        name: Of the student.

    Raises:
        UnknownNameError: No such recipe or encoder.
        InputError: An option that the recipe does not take.
    """
    make = RECIPES[recipe]
    given: dict[str, Any] = {} if encoder is None else {"encoder": encoder}
    for each in options:
        key, equals, text = each.partition("=")
        if not equals:
            raise InputError(f"--option {each}: expected NAME=VALUE.")
        try:
            given[key] = json.loads(text)
        except ValueError:
            given[key] = text
    known = inspect.signature(make).parameters
    if unknown := [key for key in given if key not in known or key == "taxonomy"]:
        takes = ", ".join(key for key in known if key != "taxonomy")
        raise InputError(f"The recipe '{recipe}' takes no {', '.join(unknown)}; it takes {takes}.")
    try:
        spec: ModelSpec = make(taxonomy=teacher.classes, **given)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{place}: " for place in first["loc"])
        raise InputError(f"The recipe '{recipe}' cannot be made with {given}: {where}{first['msg']}.") from error
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise InputError(f"The recipe '{recipe}' cannot be made with {given}: {error}.") from error
    spec = spec.with_changes(name=name, tissues=())
    mine, theirs = spec.representation, refitted(teacher, spec.mpp).representation
    if mine.name == theirs.name:
        taken = {k: v for k, v in theirs.options.items() if k not in _OF_THE_NETWORK}
        spec = spec.with_changes(
            representation={"name": mine.name, "options": {**mine.options, **taken}},
        )
    return spec
