"""The classes of a student that are others than its teachers'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from histocyte.core.compared import compared_classes
from histocyte.core.errors import InputError
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.sample import Sample
from histocyte.model.spec import ModelSpec

__all__ = ["untaught_classes"]


def untaught_classes(student: Taxonomy, teachers: Sequence[ModelSpec], samples: Sequence[Sample]) -> list[str]:
    """Of which classes nobody says anything, and by whom the others are taught, in sentences.

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
    both = compared_classes(teachers[0].classes, student)
    told = {name for each in both.classes for name in each.found}
    by_labels = {name for name, there in zip(student.names, labelled, strict=True) if there}
    if not told | by_labels:
        raise InputError(
            f"Neither a teacher nor a labelled image says anything of the classes {', '.join(student.names)}. The "
            f"first teacher has {', '.join(teachers[0].classes.names) or 'none'}: name such as can be read from these, "
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
