"""How the classes of a file of cells go into those of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compared import ComparedClasses
from histocyte.core.errors import InputError
from histocyte.formats.foreign.contents import CellFile

__all__ = ["UNKNOWN", "ClassMap", "names_in"]

_ROUNDING = 1e-2
"""How far from 1 the probabilities of a cell may sum up to and be all there are."""

UNKNOWN = "unknown"
"""Stands for no class in what users write."""


def names_in(cells: CellFile) -> list[str]:
    """Names of a file's classes in the order of their codes; a code without a name is its own."""
    codes = sorted({*cells.class_names, *np.unique(cells.types).tolist()} - {0})
    return [cells.class_names.get(code, str(code)) for code in codes]


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Found class → true class.

    Attributes:
        names: The K true classes; large and small letters are the same.
        pairs: Found class in small letters → true class (or `UNKNOWN`), before names that agree.
        true_pairs: The same for the classes of the truth's own files, where these are of another list than `names`.
    """

    names: tuple[str, ...]
    pairs: dict[str, str]
    true_pairs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, compared: ComparedClasses) -> ClassMap:
        """Merge two known lists: each class goes into what it is compared as, and what is not compared into none."""
        into: dict[str, dict[str, str]] = {}
        for side, listed in (("truth", compared.truth), ("found", compared.found)):
            into[side] = {name.lower(): UNKNOWN for name in listed.names}
            into[side] |= {name.lower(): each.name for each in compared.classes for name in getattr(each, side)}
        return cls(compared.names, into["found"], into["truth"])

    @property
    def of_truth(self) -> ClassMap:
        """How classes of the truth's own files go into the names."""
        return ClassMap(self.names, self.true_pairs)

    @classmethod
    def parse(cls, text: str | None, names: Sequence[str]) -> ClassMap:
        """Read "true=found,true=found".

        Raises:
            InputError: A part is not of this form, or names no true class.
        """
        pairs = {}
        known = {name.lower(): name for name in names} | {UNKNOWN: UNKNOWN}
        for part in filter(None, (text or "").split(",")):
            true, _, found = (piece.strip() for piece in part.rpartition("="))
            if true.lower() not in known or not found:
                raise InputError(
                    f"--classes {text}: needed is true=found,…; true is one of {', '.join(known.values())}."
                )
            pairs[found.lower()] = known[true.lower()]
        return cls(tuple(names), pairs)

    def called(self, cells: CellFile) -> NDArray[np.int64]:
        """(N,) class that each found cell is called, from 1, 0 unknown: the most probable once classes are merged.

        Raises:
            InputError: The file has classes that go nowhere.
        """
        named = self.classes_of(cells)
        if not self.true_pairs or cells.probabilities is None or not len(named):
            return named
        merged = self._merged(cells)
        sure = np.abs(merged.sum(axis=1) - 1) < _ROUNDING
        best = merged.argmax(axis=1) + 1
        return np.where(sure, np.where(best > len(self.names), 0, best), named)

    def with_others(
        self, cells: CellFile, probabilities: NDArray[np.float32], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """(N, K + 1) probabilities with a last column for found classes that are none of the names.

        Args:
            cells: The found ones.
            probabilities: (N, K) as `probabilities` gives them.
            classes: (N,) what each is called.
        """
        others = np.where((classes == 0) & (cells.types > 0), np.float32(1), np.float32(0))
        whole = np.concatenate([probabilities, others[:, None]], axis=1)
        if cells.probabilities is None or not len(classes):
            return whole
        merged = self._merged(cells)
        agree = merged.argmax(axis=1) == np.where(classes > 0, classes - 1, len(self.names))
        return np.where((agree & (np.abs(merged.sum(axis=1) - 1) < _ROUNDING))[:, None], merged, whole)

    def _merged(self, cells: CellFile) -> NDArray[np.float32]:
        """(N, K + 1) probabilities of the classes, those of several that are one added up, and last of none of them."""
        assert cells.probabilities is not None
        merged = np.zeros((len(cells.probabilities), len(self.names) + 1), np.float32)
        for code in range(1, cells.probabilities.shape[1] + 1):
            merged[:, max(self._into(code, cells), 0) - 1] += cells.probabilities[:, code - 1]
        return merged

    def classes_of(self, cells: CellFile) -> NDArray[np.int64]:
        """(N,) true class of each cell from 1, 0 unknown.

        Raises:
            InputError: The file has classes that go nowhere.
        """
        codes = np.unique(cells.types)
        into = np.array([self._into(int(code), cells) for code in codes], np.int64)
        if (into < 0).any():
            lost = [cells.class_names.get(int(c), str(c)) for c in codes[into < 0]]
            raise InputError(
                f"'{cells.path}' has classes {', '.join(lost)}; the truth has {', '.join(self.names)}. "
                f"Pass --classes true=found,… ({UNKNOWN}=found for one that the truth does not have) or --no-classes."
            )
        return into[np.searchsorted(codes, cells.types)] if len(codes) else np.zeros(0, np.int64)

    def _into(self, code: int, cells: CellFile) -> int:
        """Class from 1, 0 unknown, -1 not said. Code 0 is unknown unless the user says what it is."""
        name = cells.class_names.get(code, str(code))
        if code == 0 and name.lower() not in self.pairs:
            return 0
        true = self.pairs.get(name.lower(), name)
        lower = [known.lower() for known in self.names]
        return lower.index(true.lower()) + 1 if true.lower() in lower else 0 if true == UNKNOWN else -1

    def probabilities(self, cells: CellFile, classes: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, K) probabilities of the true classes, such that the most probable is the one the cell has.

        The file's own where it has them all and each goes into a class of its own, or lists are merged; else what the
        probability of the cell's class leaves is shared evenly by the others. Rows of cells without class are 0.
        """
        count = len(self.names)
        certain = np.eye(count + 1, dtype=np.float32)[classes][:, 1:]
        chance = np.maximum(cells.type_prob, np.float32(1 / max(count, 1)))[:, None]
        if count > 1:
            spread = np.where(certain > 0, chance, (1 - chance) / (count - 1))
            spread = np.where(chance > 1 / count, spread, certain)
        else:
            spread = certain
        result = np.where((classes > 0)[:, None], spread, 0).astype(np.float32)
        if cells.probabilities is None or not len(classes):
            return result
        into = [self._into(code, cells) for code in range(1, cells.probabilities.shape[1] + 1)]
        if not self.true_pairs and (min(into) < 1 or len(set(into)) < len(into)):
            return result
        every = self._merged(cells)
        own, whole = every[:, :count], np.abs(every.sum(axis=1) - 1) < _ROUNDING
        agree = (own.argmax(axis=1) == classes - 1) & (every >= 0).all(axis=1) & whole
        return np.where(agree[:, None], own, result)
