"""Class names, their colours, and how one list of classes maps into another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import ContentError, InputError

__all__ = ["MOST_CLASSES", "NO_CLASSES", "CellClass", "Taxonomy"]

MOST_CLASSES = 255
"""Label files hold a cell's type in a byte, 0 for an unknown one."""


@dataclass(frozen=True, slots=True)
class CellClass:
    """A class of cell: its name as users read it and its display colour, RGB 0–255."""

    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """An ordered list of cell classes. Class index 0 of the list is type 1 in label files (0 = unknown)."""

    name: str
    classes: tuple[CellClass, ...]

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(c.name for c in self.classes)

    def lookup_from(self, names: Sequence[str], mapping: Mapping[str, str]) -> NDArray[np.uint8]:
        """Type lookup from another list of classes into this one.

        Args:
            names: The other list's class names, in order; its type t (from 1) is names[t - 1].
            mapping: Other class name → name in this taxonomy; what is not named becomes unknown (0).

        Returns:
            (len(names) + 1,) table: table[other type] is the type here.

        Raises:
            InputError: The mapping names a class that is in neither list.
        """
        table = np.zeros(len(names) + 1, np.uint8)
        for other, here in mapping.items():
            if other not in names or here not in self.names:
                raise InputError(
                    f"Class mapping '{other}' → '{here}': known are {', '.join(names)} → {', '.join(self.names)}."
                )
            table[names.index(other) + 1] = self.names.index(here) + 1
        return table

    def to_json(self) -> dict[str, object]:
        """A JSON-ready description that `from_json` reads back."""
        return {"name": self.name, "classes": [{"name": c.name, "colour": list(c.colour)} for c in self.classes]}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Taxonomy:
        """Read what `to_json` wrote.

        Raises:
            ContentError: The description lacks a field, a colour is none, two classes share a name, or there are more
                than label files can hold.
        """
        try:
            listed = data["classes"]
            assert isinstance(listed, list | tuple)
            classes = tuple(CellClass(_text(c["name"]), _colour(c["colour"])) for c in listed)
            name = _text(data["name"])
        except (KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
            raise ContentError(
                f"Not a taxonomy: {error!r}. Needed: name, classes [{{name, colour [r, g, b]}}]."
            ) from error
        if len(classes) > MOST_CLASSES:
            raise ContentError(f"A taxonomy of {len(classes)} classes: there can be {MOST_CLASSES}.")
        if twice := [n for n, count in Counter(c.name for c in classes).items() if count > 1 or not n.strip()]:
            raise ContentError(f"Each class needs a name of its own, and '{twice[0]}' is none.")
        return cls(name, classes)


def _text(value: object) -> str:
    """A name as it is.

    Raises:
        TypeError: It is something else than a text.
    """
    if not isinstance(value, str):
        raise TypeError(f"no name: {value!r:.60}")
    return value


def _colour(value: Sequence[Any]) -> tuple[int, int, int]:
    """Red, green and blue, 0–255.

    Raises:
        ValueError: Not three such whole numbers.
    """
    red, green, blue = value
    if not all(isinstance(part, int) and 0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"no colour: {value!r:.60}")
    return red, green, blue


NO_CLASSES = Taxonomy("none", ())
"""Classes of a model that finds and outlines cells only."""
