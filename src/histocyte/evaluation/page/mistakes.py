"""Which nuclei of an image are wrong, and in what way: for people who look, not for scores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from histocyte.core.instances import Instances, Labels
from histocyte.metrics.overlap import Overlap, overlap_of, types_by_row

__all__ = ["Mistake", "Mistakes", "find_mistakes"]


class Mistake(IntEnum):
    """What is wrong with a nucleus; `NONE` if nothing is."""

    NONE = 0
    MISSED = 1
    FALSE = 2
    MERGED = 3
    SPLIT = 4
    WRONG_CLASS = 5
    POOR_OUTLINE = 6


@dataclass(frozen=True, slots=True, eq=False)
class Mistakes:
    """The mistake on each nucleus, by id; every mistake stands on one nucleus of one side.

    Attributes:
        truth: (largest id + 1,) `Mistake` of each true nucleus: missed or split.
        found: (largest id + 1,) of each found one: false, merged, of the wrong class or poorly outlined.
    """

    truth: NDArray[np.int8]
    found: NDArray[np.int8]


def find_mistakes(truth: Labels, found: Instances) -> Mistakes:
    """Tell the mistakes of one image apart.

    A found nucleus is *merged* if it covers more than half of each of two or more true ones; a true one is *split* if
    two or more found ones lie in it with more than half of themselves. A pair with IoU > 0.5 is right, or of the *wrong
    class*. What then is left is a *poor outline* where a found nucleus covers more than half of a true one, or lies in
    one with more than half of itself, and otherwise *missed* or *false*.

    Args:
        truth: True nuclei; classes are compared where both sides have them, and where the true one is known.
        found: Found nuclei on the same pixels; a nucleus' class is its most probable one.

    Raises:
        InputError: The label maps differ in shape.
    """
    overlap = overlap_of(truth.instances, found.labels)
    truth_rows, found_rows = (np.zeros(n, np.int8) for n in overlap.shape)
    of_truth = overlap.shared > 0.5 * overlap.truth_area[overlap.truth_row]
    of_found = overlap.shared > 0.5 * overlap.found_area[overlap.found_row]
    merged = np.bincount(overlap.found_row[of_truth], minlength=overlap.shape[1]) > 1
    split = np.bincount(overlap.truth_row[of_found], minlength=overlap.shape[0]) > 1
    paired = overlap.iou > 0.5
    poor = (of_truth | of_found) & ~paired

    # From the mildest to the gravest: what is written later stands.
    matched_truth, matched_found = overlap.truth_row[paired], overlap.found_row[paired]
    truth_rows[:], found_rows[:] = Mistake.MISSED, Mistake.FALSE
    truth_rows[overlap.truth_row[poor]] = Mistake.NONE
    found_rows[overlap.found_row[poor]] = Mistake.POOR_OUTLINE
    truth_rows[matched_truth], found_rows[matched_found] = Mistake.NONE, Mistake.NONE
    found_rows[matched_found[_other_class(truth, found, overlap, paired)]] = Mistake.WRONG_CLASS
    truth_rows[split] = Mistake.SPLIT
    pieces = overlap.found_row[of_found & split[overlap.truth_row]]
    found_rows[pieces[np.isin(found_rows[pieces], (Mistake.FALSE, Mistake.POOR_OUTLINE))]] = Mistake.NONE
    found_rows[merged] = Mistake.MERGED
    return Mistakes(_by_id(truth_rows, overlap.truth_ids), _by_id(found_rows, overlap.found_ids))


def _other_class(truth: Labels, found: Instances, overlap: Overlap, paired: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(pairs,) whether the two sides of each pair are known to be of different classes."""
    if truth.types is None or found.class_probabilities.shape[1] == 0:
        return np.zeros(int(paired.sum()), np.bool_)
    true = types_by_row(truth.types, overlap.truth_ids, what="truth")[overlap.truth_row[paired]]
    types = np.concatenate([[0], found.class_probabilities.argmax(axis=1) + 1])
    return (true > 0) & (true != types_by_row(types, overlap.found_ids, what="result")[overlap.found_row[paired]])


def _by_id(rows: NDArray[np.int8], ids: NDArray[np.int64]) -> NDArray[np.int8]:
    mistakes = np.zeros(int(ids.max(initial=0)) + 1, np.int8)
    mistakes[ids] = rows
    return mistakes
