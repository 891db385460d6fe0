"""Scores of large objects such as glands: object F1, Dice and Hausdorff distance (GlaS contest, Sirinukunwattana 2017).

Each object's counterpart is the one of the other map that shares most pixels with it. Object scores are the mean of two
sums, over the true objects and over the found ones, each object weighted by its share of its map's foreground.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from histocyte.metrics.detection import DetectionCounts
from histocyte.metrics.overlap import Overlap, overlap_of

__all__ = ["object_counts", "object_dice", "object_hausdorff"]


def object_counts(truth: NDArray[np.integer], found: NDArray[np.integer]) -> DetectionCounts:
    """Hits and misses between two (H, W) label maps: a found object is a hit if it covers half of its counterpart.

    Raises:
        InputError: The maps differ in shape or are not label maps.
    """
    overlap = overlap_of(truth, found)
    pair = _counterpart(overlap, of_truth=False)
    pair = pair[pair >= 0]
    covered = 2 * overlap.shared[pair] >= overlap.truth_area[overlap.truth_row[pair]]
    hits = len(np.unique(overlap.truth_row[pair[covered]]))
    n_truth, n_found = overlap.shape
    return DetectionCounts(hits, n_found - hits, n_truth - hits)


def object_dice(truth: NDArray[np.integer], found: NDArray[np.integer]) -> float:
    """Area-weighted Dice of every object with its counterpart (0 without one); NaN if both maps are empty.

    Raises:
        InputError: The maps differ in shape or are not label maps.
    """
    overlap = overlap_of(truth, found)
    if overlap.shape == (0, 0):
        return float("nan")
    dice = 2 * overlap.shared / (overlap.shared + overlap.union)
    half = 0.0
    for of_truth, area in ((True, overlap.truth_area), (False, overlap.found_area)):
        pair = _counterpart(overlap, of_truth=of_truth)
        scores = np.zeros(len(pair))
        scores[pair >= 0] = dice[pair[pair >= 0]]
        half += float(scores @ area / area.sum()) if len(area) else 0.0
    return half / 2


def object_hausdorff(truth: NDArray[np.integer], found: NDArray[np.integer]) -> float:
    """Area-weighted Hausdorff distance of every object to its counterpart, px.

    An object without a counterpart is measured to the nearest object in the sense of this distance. NaN if both
    maps are empty, infinite if one is.

    Raises:
        InputError: The maps differ in shape or are not label maps.
    """
    overlap = overlap_of(truth, found)
    if 0 in overlap.shape:
        return float("nan") if overlap.shape == (0, 0) else float("inf")
    half = 0.0
    for of_truth, area in ((True, overlap.truth_area), (False, overlap.found_area)):
        pair = _counterpart(overlap, of_truth=of_truth)
        own, other = (truth, found) if of_truth else (found, truth)
        own_ids, other_ids = overlap.truth_ids, overlap.found_ids
        partner = overlap.found_row
        if not of_truth:
            own_ids, other_ids, partner = other_ids, own_ids, overlap.truth_row
        distances = [
            min(
                _hausdorff(own, int(own_ids[i]), other, int(candidate))
                for candidate in (other_ids[partner[p] : partner[p] + 1] if p >= 0 else other_ids)
            )
            for i, p in enumerate(pair)
        ]
        half += float(np.asarray(distances) @ area / area.sum())
    return half / 2


def _counterpart(overlap: Overlap, *, of_truth: bool) -> NDArray[np.int64]:
    """For each object the position of its pair with the most shared pixels (the first of equals), -1 without one."""
    row, other = (overlap.truth_row, overlap.found_row) if of_truth else (overlap.found_row, overlap.truth_row)
    best = np.full(overlap.shape[0 if of_truth else 1], -1, np.int64)
    # The last write wins, so the largest comes last.
    order = np.lexsort((-other, overlap.shared))
    best[row[order]] = order
    return best


def _hausdorff(a: NDArray[np.integer], a_id: int, b: NDArray[np.integer], b_id: int) -> float:
    box = _bounding_slices((a == a_id) | (b == b_id))
    in_a, in_b = a[box] == a_id, b[box] == b_id
    return float(max(distance_transform_edt(~in_b)[in_a].max(), distance_transform_edt(~in_a)[in_b].max()))


def _bounding_slices(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = find_objects(mask.astype(np.int8))[0]
    return rows, columns
