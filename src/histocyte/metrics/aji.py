"""Aggregated Jaccard index (Kumar et al. 2017) and its one-to-one form AJI+ (Graham et al. 2019, HoVer-Net)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.metrics.assignment import assign
from histocyte.metrics.overlap import Overlap, overlap_of

__all__ = ["aji", "aji_of", "aji_plus", "aji_plus_of"]


def aji(truth: NDArray[np.integer], found: NDArray[np.integer]) -> float:
    """Aggregated Jaccard index of two (H, W) label maps.

    Each true instance takes the found one with the best IoU, which several may take; what is taken by none counts
    into the union. NaN if both maps are empty, 0 if one is.

    Raises:
        InputError: The maps differ in shape or are not label maps.
    """
    return aji_of(overlap_of(truth, found))


def aji_plus(truth: NDArray[np.integer], found: NDArray[np.integer]) -> float:
    """AJI with every found instance taken at most once: the assignment with the largest summed IoU.

    Raises:
        InputError: The maps differ in shape or are not label maps.
    """
    return aji_plus_of(overlap_of(truth, found))


def aji_of(overlap: Overlap) -> float:
    """`aji` from an overlap that is there already."""
    order = np.lexsort((overlap.found_row, -overlap.iou, overlap.truth_row))
    truth_row = overlap.truth_row[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = truth_row[1:] != truth_row[:-1]
    return _aggregate(overlap, order[first])


def aji_plus_of(overlap: Overlap) -> float:
    """`aji_plus` from an overlap that is there already."""
    chosen = assign(overlap.truth_row, overlap.found_row, overlap.iou, overlap.shape)
    return _aggregate(overlap, np.flatnonzero(chosen))


def _aggregate(overlap: Overlap, pairs: NDArray[np.integer]) -> float:
    left_truth = np.delete(overlap.truth_area, overlap.truth_row[pairs]).sum()
    left_found = np.delete(overlap.found_area, overlap.found_row[pairs]).sum()
    union = int(overlap.union[pairs].sum() + left_truth + left_found)
    return float(overlap.shared[pairs].sum() / union) if union else float("nan")
