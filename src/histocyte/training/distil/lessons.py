"""What of its teachers' maps a student can learn from as they are, and what it has to learn by way of labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from histocyte.core.compared import compared_classes
from histocyte.core.errors import InputError
from histocyte.core.maps import Activation, decoded_maps
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.build import build_representation
from histocyte.model.spec import ModelSpec
from histocyte.representations.maps.kinds import CLASSES, FOREGROUND, MapKind, can_turn, offered

__all__ = ["Group", "Lesson", "Lessons", "Way", "lessons_of"]

Way = Literal["auto", "maps", "labels"]
"""maps: the teachers' maps, as they are; labels: what the first teacher makes of its maps, written as the student's;
auto: maps where all of the student's have one of their kind, else labels, and beside them the probabilities that both
have."""

Group = tuple[tuple[int, ...], tuple[int, ...]]
"""Channels of a teacher's map of classes, and the student's that say the same."""

_ANY_RESOLUTION = (FOREGROUND.name, CLASSES.name)
"""Kinds that do not change with the size of a pixel, so that they may be resampled."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One map of the student that is learnt from maps.

    Attributes:
        name: The student's name for it.
        kind: What it says (`representations.kinds`).
        activation: Activation of that kind as `by_kind` gives it.
        teachers: Which teachers have it, by number; their mean is taken.
        groups: Groups of classes, where the teachers' differ from the student's: channels of theirs and of the
            student's
            that are one (`core.compared`), each added up. Of what is in none of them they say that it is a nucleus.
    """

    name: str
    kind: MapKind
    activation: Activation
    teachers: tuple[int, ...]
    groups: tuple[Group, ...] | None = None


@dataclass(frozen=True, slots=True)
class Lessons:
    """All of them.

    Attributes:
        maps: By map.
        labels: Whether the first teacher's labels are learnt from too.
        zoom: Range of a random factor on the resolution of crops. Geometry cannot be zoomed as a map: rays are so many
            px long, and distances blurred across a seam would teach not to part nuclei there.
    """

    maps: tuple[Lesson, ...]
    labels: bool
    zoom: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """The fields in plain values, by which a run knows its own again; of kinds the names."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {"maps": [_plain(lesson) for lesson in self.maps]}

    def describe(self) -> str:
        """One line for people."""
        parts = [f"maps {', '.join(lesson.name for lesson in self.maps)}"] if self.maps else []
        parts += ["labels that the teacher gives"] if self.labels else []
        return " and ".join(parts)


def lessons_of(student: ModelSpec, teachers: Sequence[ModelSpec], *, way: Way = "auto") -> Lessons:
    """Match the student's maps with its teachers'.

    Args:
        student: What is to be trained.
        teachers: One or more; the first one's labels are learnt from where maps do not do.
        way: See `Way`.

    Raises:
        InputError: No such way, or "maps" where one of the student's maps has none to learn from.
    """
    if way not in get_args(Way):
        raise InputError(f"A student learns by {', '.join(get_args(Way))}; asked was '{way}'.")
    representation = build_representation(student.representation)
    found, alone = [], []
    for spec in decoded_maps(representation.maps) if way != "labels" else ():
        kind = representation.kinds[spec.name]
        able = tuple(i for i, teacher in enumerate(teachers) if _teaches(teacher, student, kind))
        groups = None
        if kind.name == CLASSES.name and able:
            able = _of_one_list(able, teachers, student)
            groups = _groups(teachers[able[0]].classes, student.classes)
        if not able or not can_turn(spec, kind):
            alone.append(spec.name)
            continue
        activation: Activation = "sigmoid" if kind.name == FOREGROUND.name else spec.activation
        found.append(Lesson(spec.name, kind, activation, able, groups))
    if way == "maps" and alone:
        raise InputError(
            f"No teacher has the student's map {', '.join(alone)} in the same scheme and resolution, so it "
            "cannot learn from maps alone. Leave out --way maps: it then learns from the teacher's labels."
        )
    labels = way == "labels" or bool(alone)
    if labels:
        found = [lesson for lesson in found if lesson.kind.name in _ANY_RESOLUTION]
    stiff = any(lesson.kind.name not in _ANY_RESOLUTION for lesson in found)
    return Lessons(tuple(found), labels, (1.0, 1.0) if stiff else (0.8, 1.25))


def _teaches(teacher: ModelSpec, student: ModelSpec, kind: MapKind) -> bool:
    if kind.name not in offered(build_representation(teacher.representation)):
        return False
    return kind.name in _ANY_RESOLUTION or math.isclose(teacher.mpp, student.mpp, rel_tol=1e-6)


def _of_one_list(able: Sequence[int], teachers: Sequence[ModelSpec], student: ModelSpec) -> tuple[int, ...]:
    """Those of some teachers that have one list of classes: the student's own, else that of the first of them."""
    lists = [teachers[i].classes.names for i in able]
    names = student.classes.names if student.classes.names in lists else lists[0]
    return tuple(i for i, theirs in zip(able, lists, strict=True) if theirs == names)


def _groups(teacher: Taxonomy, student: Taxonomy) -> tuple[Group, ...] | None:
    """What the classes of two lists have in common, by channels; None where they are the same."""
    if teacher.names == student.names:
        return None

    def channels(names: Sequence[str], chosen: Sequence[str]) -> tuple[int, ...]:
        return tuple(names.index(name) + 1 for name in chosen)  # the background is channel 0

    both = compared_classes(teacher, student).classes
    return tuple((channels(teacher.names, each.truth), channels(student.names, each.found)) for each in both)


def _plain(lesson: Lesson) -> dict[str, Any]:
    found = {f.name: getattr(lesson, f.name) for f in fields(lesson)} | {"kind": lesson.kind.name}
    if lesson.groups is None:  # as runs of earlier versions have it
        del found["groups"]
    return found
