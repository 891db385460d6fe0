"""The student of a distillation: what a recipe makes, with its teacher's classes or others, and who teaches these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from histocyte.core.compared import compared_classes
from histocyte.core.errors import InputError
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.sample import Sample
from histocyte.model.spec import ModelSpec
from histocyte.recipes.fitting import refitted
from histocyte.runs.train.defaults import first_spec

__all__ = ["student_spec", "untaught_classes"]

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
        options: Options of the recipe, by name.
        name: Name of the student.
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


def untaught_classes(student: Taxonomy, teachers: Sequence[ModelSpec], samples: Sequence[Sample]) -> list[str]:
    """Sentences on the classes that nobody teaches, and on who teaches the others.

    Args:
        student: Its classes.
        teachers: One or more.
        samples: Labelled images to learn from, in the student's classes.

    Returns:
        Nothing where a teacher has the student's classes.

    Raises:
        InputError: Nobody says anything of any of them: the student would invent them.
    """
    if not len(student) or any(teacher.classes.names == student.names for teacher in teachers):
        return []
    labelled = np.zeros(len(student), np.bool_)
    for sample in samples:
        labelled |= sample.class_counts(len(student)) > 0
        if sample.one_of is not None:
            labelled |= sample.one_of.any(axis=0)
    teacher = next((each for each in teachers if len(each.classes)), teachers[0])
    both = compared_classes(teacher.classes, student)
    told = {name for each in both.classes for name in each.found}
    by_labels = {name for name, there in zip(student.names, labelled, strict=True) if there}
    if not told | by_labels:
        raise InputError(
            f"Neither a teacher nor a labelled image says anything of the classes {', '.join(student.names)}. The "
            f"teacher has {', '.join(teacher.classes.names) or 'none'}: name such as can be read from these, "
            "or add a folder that has them."
        )
    lines = []
    if both.classes:
        lines.append(f"Of classes the teacher teaches (its as the student's): {'; '.join(map(str, both.classes))}.")
    if alone := [name for name in student.names if name not in told and name in by_labels]:
        lines.append(f"Labels alone teach {', '.join(alone)}: the teacher has no such class.")
    if never := [name for name in student.names if name not in told | by_labels]:
        lines.append(f"Nothing teaches {', '.join(never)}: it will not be told.")
    return lines
