"""Which classes of two lists can be compared, where truth and model do not have the same one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.taxonomies import readings
from histocyte.core.taxonomy import CellClass, Taxonomy

__all__ = ["ComparedClass", "ComparedClasses", "compared_classes"]


@dataclass(frozen=True, slots=True)
class ComparedClass:
    """One class that both lists can say.

    Attributes:
        name: What it is called: as the side that has one class for it calls it, before all the truth.
        truth: The classes of the truth that are it.
        found: The classes of the result that are it.
    """

    name: str
    truth: tuple[str, ...]
    found: tuple[str, ...]

    def __str__(self) -> str:
        """The two sides in words."""
        return f"{' or '.join(self.truth)} as {' or '.join(self.found)}"


@dataclass(frozen=True, slots=True)
class ComparedClasses:
    """What can be compared of a true list of classes and a found one.

    Attributes:
        truth: The list that the truth has.
        found: The list that the result has.
        classes: What both can say, in the order of the found list; empty where nothing can be compared.
    """

    truth: Taxonomy
    found: Taxonomy
    classes: tuple[ComparedClass, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the K classes that are compared."""
        return tuple(each.name for each in self.classes)

    @property
    def identical(self) -> bool:
        """Whether both lists are the same, so that there is nothing to say."""
        return self.truth.names == self.found.names

    @property
    def truth_alone(self) -> tuple[str, ...]:
        """Classes of the truth that the result cannot say."""
        return tuple(n for n in self.truth.names if not any(n in each.truth for each in self.classes))

    @property
    def found_alone(self) -> tuple[str, ...]:
        """Classes of the result that the truth does not have."""
        return tuple(n for n in self.found.names if not any(n in each.found for each in self.classes))

    def taxonomy(self) -> Taxonomy:
        """The compared classes as a list, each in the colour of its first found class."""
        colour = {c.name: c.colour for c in self.found.classes}
        return Taxonomy("compared", tuple(CellClass(each.name, colour[each.found[0]]) for each in self.classes))

    def true_types(self) -> NDArray[np.uint8]:
        """(T + 1,) type of the compared classes, from 1, for each type of the truth; 0 for what is not compared."""
        return np.array([0, *(self._place("truth", name) for name in self.truth.names)], np.uint8)

    def merged(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of the compared classes: those of the found classes that are one, added up.

        Args:
            probabilities: (N, F) in the order of the found list.

        Returns:
            (N, K), and where the result has classes that are not compared one more column with what falls to these.
        """
        into = np.zeros((len(self.found), len(self.classes) + bool(self.found_alone)), np.float32)
        for row, name in enumerate(self.found.names):
            into[row, (self._place("found", name) or into.shape[1]) - 1] = 1
        return probabilities @ into

    def _place(self, side: str, name: str) -> int:
        """Number of the compared class that a class goes into, from 1; 0 for none."""
        return next((i for i, each in enumerate(self.classes, 1) if name in getattr(each, side)), 0)

    def sentences(self, where: str) -> list[str]:
        """What a reader of the scores has to know; nothing where both lists are the same.

        Args:
            where: What the truth is called.
        """
        if self.identical:
            return []
        if not self.classes:
            return [
                f"{where} has the classes {', '.join(self.truth.names)}, and the model "
                f"{', '.join(self.found.names)}: none can be compared, so classes are not scored."
            ]
        said = [f"Classes of {where} are scored so (the truth's as the model's): {'; '.join(map(str, self.classes))}."]
        if self.truth_alone:
            said.append(
                f"Cells of {where} that are {' or '.join(self.truth_alone)} count as of unknown class: the model has "
                "no such."
            )
        if self.found_alone:
            said.append(
                f"Cells found as {' or '.join(self.found_alone)}, which {where} does not have, count as of the wrong "
                "class."
            )
        return said

    def to_json(self) -> dict[str, object]:
        """`compared`, and the classes of either side that are not."""
        return {
            "classes": [
                {"name": each.name, "truth": list(each.truth), "found": list(each.found)} for each in self.classes
            ],
            "truth_alone": list(self.truth_alone),
            "found_alone": list(self.found_alone),
        }


def compared_classes(truth: Taxonomy, found: Taxonomy) -> ComparedClasses:
    """What can be compared of two lists: classes that may be one another, taken together until no two sets overlap.

    The finer list is merged upwards: of a model's lymphocyte, macrophage and neutrophil the sum is compared with the
    truth's "inflammatory". A class of the truth that the found list cannot say (`core.taxonomies.readings`) is left
    out, and so is a found class that nothing of the truth may be.

    Args:
        truth: The list that the truth has.
        found: The list that the result has.

    >>> from histocyte.core.taxonomies import CELLS, CONSEP
    >>> [str(each) for each in compared_classes(CONSEP, CELLS).classes][:2]
    ['epithelial as epithelial', 'inflammatory as lymphocyte or macrophage or neutrophil']
    """
    read = readings(truth, found)
    groups: list[tuple[set[str], set[str]]] = []
    for name, classes in read.items():
        touching = [group for group in groups if group[1] & set(classes)]
        joined = {name}.union(*(group[0] for group in touching)), set(classes).union(*(g[1] for g in touching))
        groups = [group for group in groups if group not in touching] + [joined]
    result = [ComparedClass("", _in_order(truth.names, true), _in_order(found.names, there)) for true, there in groups]
    result.sort(key=lambda each: found.names.index(each.found[0]))
    return ComparedClasses(truth, found, _named(result))


def _in_order(names: Sequence[str], chosen: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in chosen)


def _named(classes: Sequence[ComparedClass]) -> tuple[ComparedClass, ...]:
    """The classes with a name each, no two the same."""
    named: dict[str, ComparedClass] = {}
    for each in classes:
        single = each.truth if len(each.truth) == 1 or len(each.found) > 1 else each.found
        name = " or ".join(single)
        while name in named:
            name = f"{name} ({' or '.join(each.found)})"
        named[name] = ComparedClass(name, each.truth, each.found)
    return tuple(named.values())
