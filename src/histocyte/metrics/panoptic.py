"""Panoptic quality of instances: detection quality (DQ) times segmentation quality (SQ).

Kirillov et al. 2019, Panoptic Segmentation; for nuclei Graham et al. 2019, HoVer-Net §4.2. A truth and a found
instance match if their IoU is *above* 0.5, which no instance can have with two others.

The field's programs differ by an epsilon and in what an image without nuclei scores (`Convention`):

| convention | DQ | SQ | truth empty | both empty |
|---|---|---|---|---|
| plain | TP / (TP + FP/2 + FN/2) | ΣIoU / TP | 0 | NaN |
| hovernet | as plain | ΣIoU / (TP + 1e-6) | 0 | NaN (its program fails) |
| pannuke | as plain | ΣIoU / (TP + 1e-6) | NaN: false positives there do not count | NaN |
| cellvit | denominator + 1e-6 | ΣIoU / (TP + 1e-6) | NaN, as pannuke | NaN |
| conic | denominator + 1e-6 | ΣIoU / (TP + 1e-6) | 0 | 0: a correct blank is punished |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histocyte.core.errors import UnknownNameError
from histocyte.metrics.assignment import assign
from histocyte.metrics.overlap import Overlap, overlap_of, types_by_row
from histocyte.statistics.averages import nan_mean

__all__ = [
    "Convention",
    "PanopticCounts",
    "PanopticQuality",
    "count_class_matches",
    "count_matches",
    "mpq_plus",
    "panoptic_counts",
    "panoptic_counts_by_class",
    "panoptic_quality",
]

Convention = Literal["plain", "hovernet", "pannuke", "cellvit", "conic"]

_EPSILON = 1e-6


class PanopticQuality(NamedTuple):
    """Detection quality, segmentation quality and their product, each of the counts' shape."""

    dq: NDArray[np.float64]
    sq: NDArray[np.float64]
    pq: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PanopticCounts:
    """What panoptic quality is made of; counts of several images add up with `+`."""

    tp: int
    fp: int
    fn: int
    iou_sum: float

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        return PanopticCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou_sum + other.iou_sum)

    def quality(self, convention: Convention = "plain") -> PanopticQuality:
        """DQ, SQ and PQ by the named convention."""
        return panoptic_quality(self.tp, self.fp, self.fn, self.iou_sum, convention=convention)

    @property
    def dq(self) -> float:
        """Detection quality, without epsilon; NaN if there is nothing in either map."""
        return float(self.quality().dq)

    @property
    def sq(self) -> float:
        """Segmentation quality, the mean IoU of the matches; 0 without a match, NaN if both maps are empty."""
        return float(self.quality().sq)

    @property
    def pq(self) -> float:
        """Panoptic quality, without epsilon; NaN if both maps are empty."""
        return float(self.quality().pq)


def panoptic_quality(
    tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, iou_sum: ArrayLike, *, convention: Convention = "plain"
) -> PanopticQuality:
    """DQ, SQ and PQ from counts of any one shape.

    Args:
        tp: Matched pairs.
        fp: Found instances without a match.
        fn: True instances without a match.
        iou_sum: Sum of the matches' IoU.
        convention: Which program's epsilons and empty images to follow, see the module.

    Raises:
        UnknownNameError: There is no such convention.
    """
    if convention not in get_args(Convention):
        raise UnknownNameError("panoptic quality convention", convention, get_args(Convention))
    tp, fp, fn, iou_sum = (np.asarray(a, np.float64) for a in (tp, fp, fn, iou_sum))
    dq_epsilon = _EPSILON if convention in ("cellvit", "conic") else 0.0
    sq_epsilon = 0.0 if convention == "plain" else _EPSILON
    dq = _ratio(tp, tp + 0.5 * fp + 0.5 * fn + dq_epsilon)
    sq = _ratio(iou_sum, tp + sq_epsilon)
    undefined = np.zeros(tp.shape, np.bool_)
    if convention in ("pannuke", "cellvit"):
        undefined = tp + fn == 0
    elif convention != "conic":
        undefined = tp + fp + fn == 0
    return PanopticQuality(*(np.where(undefined, np.nan, part) for part in (dq, sq, dq * sq)))


def panoptic_counts(truth: NDArray[np.integer], found: NDArray[np.integer], *, iou: float = 0.5) -> PanopticCounts:
    """Matches, misses and false finds between two label maps, classes aside.

    Args:
        truth: (H, W) label map, 0 background; ids need not be contiguous.
        found: (H, W) label map of the same image.
        iou: A pair matches above this. Below 0.5 pairs are first assigned one to one by largest summed IoU.

    Raises:
        InputError: The maps differ in shape or are not label maps.
    """
    return count_matches(overlap_of(truth, found), iou=iou)


def panoptic_counts_by_class(
    truth: NDArray[np.integer],
    truth_types: NDArray[np.integer],
    found: NDArray[np.integer],
    found_types: NDArray[np.integer],
    *,
    n_classes: int,
    iou: float = 0.5,
) -> tuple[PanopticCounts, ...]:
    """Counts of each class 1..`n_classes`, every instance having one class.

    An instance whose class is unknown in the truth (0) is neither a miss, nor is what was found there a false find.

    Args:
        truth: (H, W) label map.
        truth_types: Class of each true instance by its id, entry 0 unused.
        found: (H, W) label map of the same image.
        found_types: Class of each found instance by its id, entry 0 unused.
        n_classes: Number of classes.
        iou: A pair of the same class matches above this.

    Raises:
        InputError: The maps differ in shape, or an id has no class.
    """
    overlap = overlap_of(truth, found)
    return count_class_matches(
        overlap,
        types_by_row(truth_types, overlap.truth_ids, what="truth"),
        types_by_row(found_types, overlap.found_ids, what="result"),
        n_classes=n_classes,
        iou=iou,
    )


def count_matches(overlap: Overlap, *, iou: float = 0.5) -> PanopticCounts:
    """`panoptic_counts` from an overlap that is there already."""
    matched = _matches(overlap, np.ones(len(overlap.shared), np.bool_), iou)
    tp = int(matched.sum())
    n_truth, n_found = overlap.shape
    return PanopticCounts(tp, n_found - tp, n_truth - tp, float(overlap.iou[matched].sum()))


def count_class_matches(
    overlap: Overlap,
    truth_classes: NDArray[np.int64],
    found_classes: NDArray[np.int64],
    *,
    n_classes: int,
    iou: float = 0.5,
) -> tuple[PanopticCounts, ...]:
    """`panoptic_counts_by_class` from an overlap, with (N,) and (M,) classes in the order of its rows."""
    of_truth, of_found = truth_classes[overlap.truth_row], found_classes[overlap.found_row]
    matched = _matches(overlap, (of_truth == of_found) | (of_truth == 0), iou)
    settled = matched & (of_truth > 0)
    excused = overlap.found_row[matched & (of_truth == 0)]
    tp = np.bincount(of_truth[settled], minlength=n_classes + 1)
    iou_sum = np.bincount(of_truth[settled], overlap.iou[settled], minlength=n_classes + 1)
    truth = np.bincount(truth_classes, minlength=n_classes + 1)
    found = np.bincount(np.delete(found_classes, excused), minlength=n_classes + 1)
    return tuple(
        PanopticCounts(int(tp[c]), int(found[c] - tp[c]), int(truth[c] - tp[c]), float(iou_sum[c]))
        for c in range(1, n_classes + 1)
    )


def mpq_plus(
    counts: Sequence[PanopticCounts], *, absent: Literal["skip", "zero"] = "skip"
) -> tuple[float, NDArray[np.float64]]:
    """mPQ+ of CoNIC (Graham et al. 2021): PQ of each class from counts summed over all images, then their mean.

    Args:
        counts: The pooled counts, one entry a class.
        absent: What a class scores that is nowhere, neither in the truth nor found: left out, or 0 as CoNIC's program.

    Returns:
        The mean, and the (K,) PQ by class (NaN where left out).
    """
    table = np.array([(c.tp, c.fp, c.fn, c.iou_sum) for c in counts], np.float64).reshape(-1, 4)
    pq = panoptic_quality(*table.T, convention="conic").pq
    if absent == "skip":
        pq = np.where(table[:, :3].sum(axis=1) == 0, np.nan, pq)
    return float(nan_mean(pq)), pq


def _matches(overlap: Overlap, possible: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """(P,) which of the possible pairs match."""
    iou = overlap.iou
    if threshold >= 0.5:
        return possible & (iou > threshold)
    pairs = np.flatnonzero(possible)
    # Assigned before the threshold, as HoVer-Net's program does.
    pairs = pairs[assign(overlap.truth_row[pairs], overlap.found_row[pairs], iou[pairs], overlap.shape)]
    matched = np.zeros(len(iou), np.bool_)
    matched[pairs] = iou[pairs] > threshold
    return matched


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)
