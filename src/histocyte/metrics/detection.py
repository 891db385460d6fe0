"""Detection and classification by centroids (Graham et al. 2019, HoVer-Net §4.2; Sirinukunwattana et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.geometry import rows_cols_to_xy
from histocyte.metrics.assignment import assign

__all__ = [
    "RADIUS_UM",
    "CentroidMatch",
    "ClassDetectionCounts",
    "DetectionCounts",
    "MatchMode",
    "centroids",
    "class_detection_counts",
    "detection_radius_px",
    "hovernet_points",
    "match_centroids",
]

RADIUS_UM = 3.0
"""How far apart two centroids of one nucleus may be: 12 px at 0.25 µm/px, 6 px at 0.5 µm/px."""

MatchMode = Literal["hovernet", "max_cardinality"]


@dataclass(frozen=True, slots=True)
class CentroidMatch:
    """Pairs of points that are taken for the same nucleus.

    Attributes:
        truth: (P,) index of each pair's true point.
        found: (P,) index of its found point.
        n_truth: Number of true points.
        n_found: Number of found points.
    """

    truth: NDArray[np.int64]
    found: NDArray[np.int64]
    n_truth: int
    n_found: int

    def counts(self) -> DetectionCounts:
        """Hits, false finds and misses."""
        hits = len(self.truth)
        return DetectionCounts(hits, self.n_found - hits, self.n_truth - hits)


@dataclass(frozen=True, slots=True)
class DetectionCounts:
    """Hits, false finds and misses; counts of several images add up with `+`. Ratios are NaN where 0/0."""

    tp: int
    fp: int
    fn: int

    def __add__(self, other: DetectionCounts) -> DetectionCounts:
        return DetectionCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """Share of the found points that are true."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true points that are found."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True, slots=True)
class ClassDetectionCounts:
    """One class's part in detection and classification; counts of several images add up with `+`.

    Attributes:
        tp: Pairs of this class on both sides.
        fp: Pairs found as this class that truly are another.
        fn: Pairs truly of this class that were found as another.
        fp_unmatched: Found points of this class without a partner.
        fn_unmatched: True points of this class without a partner.
    """

    tp: int
    fp: int
    fn: int
    fp_unmatched: int
    fn_unmatched: int

    def __add__(self, other: ClassDetectionCounts) -> ClassDetectionCounts:
        return ClassDetectionCounts(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.fp_unmatched + other.fp_unmatched,
            self.fn_unmatched + other.fn_unmatched,
        )

    @property
    def precision(self) -> float:
        """TP / (TP + 2 FP + unmatched finds)."""
        return _ratio(self.tp, self.tp + 2 * self.fp + self.fp_unmatched)

    @property
    def recall(self) -> float:
        """TP / (TP + 2 FN + unmatched truths)."""
        return _ratio(self.tp, self.tp + 2 * self.fn + self.fn_unmatched)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + 2 FP + 2 FN + unmatched finds + unmatched truths)."""
        return _ratio(2 * self.tp, 2 * (self.tp + self.fp + self.fn) + self.fp_unmatched + self.fn_unmatched)


def detection_radius_px(mpp: float) -> float:
    """`RADIUS_UM` in pixels of an image with `mpp` µm/px."""
    return RADIUS_UM / mpp


def centroids(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids of an (H, W) label map, ascending, and their (N, 2) centroids (x, y), px.

    Pixel (row r, column c) has its centre at (c + 0.5, r + 0.5).
    """
    row, column = np.nonzero(labels)
    ids, position, areas = np.unique(labels[row, column], return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(position, axis, minlength=len(ids)) for axis in (row, column)], axis=1)
    return ids.astype(np.int64), rows_cols_to_xy(sums / areas[:, None]).astype(np.float64)


def match_centroids(
    truth_xy: NDArray[np.floating],
    found_xy: NDArray[np.floating],
    *,
    radius_px: float,
    mode: MatchMode = "hovernet",
) -> CentroidMatch:
    """Pair true and found points one to one, no pair further apart than the radius.

    `hovernet` assigns all points by smallest summed distance and then drops the pairs beyond the radius, as the
    published figures are made; a far outlier can cost it a near pair, and it needs the full N × M matrix.
    `max_cardinality` makes as many pairs within the radius as possible, of those the closest; it looks at
    neighbours only.

    Args:
        truth_xy: (N, 2) true points, px.
        found_xy: (M, 2) found points, px.
        radius_px: Largest distance of a pair, itself included; see `detection_radius_px`.
        mode: Which of the two.

    Raises:
        InputError: The radius is not positive.
        UnknownNameError: There is no such mode.
    """
    if mode not in get_args(MatchMode):
        raise UnknownNameError("matching mode", mode, get_args(MatchMode))
    if not radius_px > 0:
        raise InputError(f"The matching radius must be above 0 px, not {radius_px:g}.")
    if len(truth_xy) == 0 or len(found_xy) == 0:
        none = np.empty(0, np.int64)
        return CentroidMatch(none, none, len(truth_xy), len(found_xy))
    pair = _assign_all if mode == "hovernet" else _assign_near
    truth, found = pair(truth_xy, found_xy, radius_px)
    return CentroidMatch(truth, found, len(truth_xy), len(found_xy))


def class_detection_counts(
    match: CentroidMatch,
    truth_classes: NDArray[np.integer],
    found_classes: NDArray[np.integer],
    *,
    n_classes: int,
    unknown: Literal["skip", "count"] = "skip",
    others_right: Literal["ignore", "count"] = "ignore",
) -> tuple[ClassDetectionCounts, ...]:
    """Counts of each class 1..`n_classes` as HoVer-Net defines them.

    Args:
        match: The matched points.
        truth_classes: (N,) class of each true point, 0 unknown.
        found_classes: (M,) class of each found point.
        n_classes: Number of classes.
        unknown: Whether a pair whose true class is unknown is left out, or makes the found class a false find.
        others_right: What pairs of other classes that were rightly called are to a class: nothing, as in all programs
            and published figures, or hits, as the formula in the papers reads ("TN", which makes all classes alike).
    """
    truth, found = truth_classes[match.truth], found_classes[match.found]
    if unknown == "skip":
        truth, found = truth[truth > 0], found[truth > 0]
    alone_truth = np.delete(truth_classes, match.truth)
    alone_found = np.delete(found_classes, match.found)
    return tuple(
        ClassDetectionCounts(
            tp=int(np.sum((truth == found) & ((truth == c) | ((truth > 0) & (others_right == "count"))))),
            fp=int(np.sum((truth != c) & (found == c))),
            fn=int(np.sum((truth == c) & (found != c))),
            fp_unmatched=int(np.sum(alone_found == c)),
            fn_unmatched=int(np.sum(alone_truth == c)),
        )
        for c in range(1, n_classes + 1)
    )


def hovernet_points(
    xy: NDArray[np.floating], classes: NDArray[np.integer]
) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    """The points as HoVer-Net's program sees them: where there is none, one of unknown class at (0, 0).

    For parity only: it adds a miss or a false find to an image that is empty on one side, and a hit where both are.
    Pass both sides through it, match in mode "hovernet", and count with `unknown="count"`.
    """
    return (xy, classes) if len(xy) else (np.zeros((1, 2)), np.zeros(1, np.int64))


def _assign_all(
    truth_xy: NDArray[np.floating], found_xy: NDArray[np.floating], radius_px: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    distance = cdist(truth_xy, found_xy)
    truth, found = linear_sum_assignment(distance)
    near = distance[truth, found] <= radius_px
    return truth[near], found[near]


def _assign_near(
    truth_xy: NDArray[np.floating], found_xy: NDArray[np.floating], radius_px: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    near = KDTree(truth_xy).sparse_distance_matrix(KDTree(found_xy), radius_px, output_type="ndarray")
    truth, found = near["i"].astype(np.int64), near["j"].astype(np.int64)
    # All closeness terms together stay under 1, so that no closeness outweighs one more pair.
    closeness = (1 - near["v"] / radius_px) / (min(len(truth_xy), len(found_xy)) + 1)
    chosen = np.flatnonzero(assign(truth, found, 1 + closeness, (len(truth_xy), len(found_xy))))
    order = chosen[np.argsort(truth[chosen], kind="stable")]
    return truth[order], found[order]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
