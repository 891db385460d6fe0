"""Which instances of two label maps share pixels, and how many: the table all instance scores are read from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.errors import InputError

__all__ = ["Overlap", "overlap_of", "types_by_row"]

_DENSE_IDS = 1 << 22
"""Ids up to here are counted in an array; above (sparse 32-bit ids), they are sorted."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """The joint histogram of two label maps, as the P pairs that meet; the background is left out.

    Attributes:
        truth_ids: (N,) ids in the truth, ascending.
        found_ids: (M,) ids in the other map, ascending.
        truth_area: (N,) pixels of each.
        found_area: (M,) pixels of each.
        truth_row: (P,) the pair's truth, as a position in `truth_ids`.
        found_row: (P,) the pair's found instance, as a position in `found_ids`.
        shared: (P,) pixels they share, at least 1.
    """

    truth_ids: NDArray[np.int64]
    found_ids: NDArray[np.int64]
    truth_area: NDArray[np.int64]
    found_area: NDArray[np.int64]
    truth_row: NDArray[np.int64]
    found_row: NDArray[np.int64]
    shared: NDArray[np.int64]

    @property
    def union(self) -> NDArray[np.int64]:
        """(P,) pixels of the pair's union."""
        return self.truth_area[self.truth_row] + self.found_area[self.found_row] - self.shared

    @property
    def iou(self) -> NDArray[np.float64]:
        """(P,) intersection over union of each pair."""
        return self.shared / self.union

    @property
    def shape(self) -> tuple[int, int]:
        """Number of instances in the truth and found."""
        return len(self.truth_ids), len(self.found_ids)


def overlap_of(truth: NDArray[np.integer], found: NDArray[np.integer]) -> Overlap:
    """Count the pixels every pair of instances shares, in one pass.

    Args:
        truth: (H, W) label map, 0 background; ids need not be contiguous.
        found: (H, W) label map of the same image.

    Raises:
        InputError: The maps differ in shape, or are not maps of non-negative integers.
    """
    if truth.shape != found.shape:
        raise InputError(f"The label maps to compare differ in shape: truth {truth.shape}, found {found.shape}.")
    table_size = math.prod(_highest(labels) + 1 for labels in (truth, found))
    return _overlap_by_table(truth, found) if table_size <= 4 * truth.size else _overlap_by_rows(truth, found)


def _overlap_by_table(truth: NDArray[np.integer], found: NDArray[np.integer]) -> Overlap:
    """For ids that are small beside the image: one table of all pairs of ids, whose sums are the areas."""
    # One type and layout (ids this small fit), so that it is compiled once.
    one, other = (np.ascontiguousarray(labels, np.int32) for labels in (truth, found))
    table = _count_pairs(one, other, np.zeros((_highest(truth) + 1, _highest(found) + 1), np.int64))
    truth_area, found_area = table.sum(axis=1), table.sum(axis=0)
    truth_area[0] = found_area[0] = 0
    truth_ids, found_ids = np.flatnonzero(truth_area), np.flatnonzero(found_area)
    of_truth, of_found = np.nonzero(table[1:, 1:])
    truth_row, found_row = np.searchsorted(truth_ids, of_truth + 1), np.searchsorted(found_ids, of_found + 1)
    shared = table[of_truth + 1, of_found + 1]
    return Overlap(truth_ids, found_ids, truth_area[truth_ids], found_area[found_ids], truth_row, found_row, shared)


def _count_pairs_plainly(
    truth: NDArray[np.int32], found: NDArray[np.int32], table: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Add each pixel of two maps to a (T, F) table of pairs of ids; T and F are above all ids."""
    for row in range(truth.shape[0]):
        for column in range(truth.shape[1]):
            table[truth[row, column], found[row, column]] += 1
    return table


_count_pairs = compiled(_count_pairs_plainly)


def _overlap_by_rows(truth: NDArray[np.integer], found: NDArray[np.integer]) -> Overlap:
    """For any ids: each replaced by its position among those that occur."""
    truth_ids, truth_area, truth_rows = _instances(truth)
    found_ids, found_area, found_rows = _instances(found)
    both = (truth > 0) & (found > 0)
    key = truth_rows[both] * max(1, len(found_ids)) + found_rows[both]
    if len(truth_ids) * len(found_ids) <= 4 * max(truth.size, 1):
        table = np.bincount(key)
        pairs = np.flatnonzero(table)
        shared = table[pairs]
    else:
        pairs, shared = np.unique(key, return_counts=True)
    truth_row, found_row = np.divmod(pairs, max(1, len(found_ids)))
    return Overlap(truth_ids, found_ids, truth_area, found_area, truth_row, found_row, shared.astype(np.int64))


def types_by_row(types: NDArray[np.integer], ids: NDArray[np.int64], *, what: str) -> NDArray[np.int64]:
    """(N,) class of each instance in `ids`, from a list indexed by instance id.

    Raises:
        InputError: The list ends before the largest id.
    """
    if len(ids) and len(types) <= ids[-1]:
        raise InputError(
            f"The {what} names {max(0, len(types) - 1)} instances' classes, but its label map has instance {ids[-1]}; "
            "pass one class per id, entry 0 unused."
        )
    return np.asarray(types, np.int64)[ids]


def _instances(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Ids and areas without the background, and the (H, W) map of positions in them (-1 background)."""
    if _highest(labels) > _DENSE_IDS:
        ids, rows, areas = np.unique(labels, return_inverse=True, return_counts=True)
        first = int(ids[0] == 0)
        return ids[first:].astype(np.int64), areas[first:].astype(np.int64), rows.reshape(labels.shape) - first
    areas = np.bincount(labels.ravel(), minlength=1)
    areas[0] = 0
    ids = np.flatnonzero(areas)
    position = np.full(len(areas), -1, np.int64)
    position[ids] = np.arange(len(ids))
    return ids, areas[ids], position[labels]


def _highest(labels: NDArray[np.integer]) -> int:
    """The highest id of a map, 0 of an empty one.

    Raises:
        InputError: It is not a label map.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"A label map must hold integers, not {labels.dtype}.")
    if labels.size and labels.min() < 0:
        raise InputError("A label map must not hold negative ids; 0 is the background.")
    return int(labels.max()) if labels.size else 0
