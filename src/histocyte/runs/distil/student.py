"""The student of a distillation: what a recipe makes, with its teacher's classes or others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec
from histocyte.recipes.fitting import refitted
from histocyte.runs.train.defaults import first_spec

__all__ = ["student_spec"]

_OF_THE_NETWORK = ("classes", "nucleus_channels", "refined", "losses", "class_weights", "foreground")
"""Options of a representation that decide what a network predicts or how it learns, and not how its maps are read."""


def student_spec(
    recipe: str,
    teacher: ModelSpec,
    encoder: str | None,
    options: Mapping[str, Any],
    name: str,
    *,
    taxonomy: Taxonomy | None = None,
) -> ModelSpec:
    """The student that a recipe makes.

    A student of the teacher's scheme is also read by the teacher's constants, at its own resolution: its maps will be
    like the teacher's.

    Args:
        recipe: By name.
        teacher: The first one.
        encoder: In place of the recipe's own.
        options: Of the recipe, by name.
        name: Of the student.
        taxonomy: Its classes; its teacher's where None.

    Raises:
        UnknownNameError: No such recipe or encoder.
        InputError: An option that the recipe does not take.
    """
    classes = teacher.classes if taxonomy is None else taxonomy
    spec = first_spec(recipe, encoder, taxonomy=classes, options=options).with_changes(name=name)
    mine, theirs = spec.representation, refitted(teacher, spec.mpp).representation
    if mine.name == theirs.name:
        taken = {k: v for k, v in theirs.options.items() if k not in _OF_THE_NETWORK}
        spec = spec.with_changes(
            representation={"name": mine.name, "options": {**mine.options, **taken}},
        )
    return spec
