"""Everything that is counted on one image; all scores of a data set are made from these rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels, relabel_sequential
from histocyte.metrics.aji import aji_of, aji_plus_of
from histocyte.metrics.calibration import CalibrationCounts, calibration_counts
from histocyte.metrics.detection import (
    CentroidMatch,
    ClassDetectionCounts,
    DetectionCounts,
    MatchMode,
    centroids,
    class_detection_counts,
    detection_radius_px,
    match_centroids,
)
from histocyte.metrics.dice import dice_ensemble_of, dice_of
from histocyte.metrics.overlap import Overlap, overlap_of, types_by_row
from histocyte.metrics.panoptic import PanopticCounts, count_class_matches, count_matches
from histocyte.statistics.averages import nan_mean

if TYPE_CHECKING:
    from histocyte.datasets.sample import Sample

__all__ = ["ClassScores", "ImageInfo", "ImageScores", "Told", "score_image"]

Told = Literal["outlines", "centres", "some centres"]
"""What the truth of an image tells: the outline of each nucleus, the centre of each, or the centres of some."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Where an image is from.

    Attributes:
        name: Name within its data set.
        source: Data set.
        group: Patient or slide, resampled as one; may be empty.
        mpp: µm per px.
        stratum: What scores are first averaged within (tissue), if anything.
        told: What its truth tells of nuclei. Of centres alone, detection and classes are scored, and no outlines; where
            only some nuclei have one, what was found elsewhere is neither right nor wrong.
    """

    name: str
    source: str
    group: str
    mpp: float
    stratum: str = ""
    told: Told = "outlines"

    @classmethod
    def of(cls, sample: Sample) -> ImageInfo:
        """Where a labelled image is from; its tissue is its stratum."""
        return cls(sample.name, sample.source, sample.group, sample.mpp, sample.tissue, sample.centres or "outlines")


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """The classes' part in one image's scores; nuclei of unknown true class take no part, nor what was found there.

    Attributes:
        panoptic: Counts of each class.
        detection: Counts of each class.
        n_truth: (K,) true nuclei.
        n_found: (K,) found nuclei.
        right: Detected nuclei with the right class.
        detected: Detected nuclei of known class.
        confusion: (K + 1, K + 1) nuclei by true class (rows) and found class (columns), paired by centroids. Row 0
            holds what was found without a partner, column 0 the true nuclei that were missed or found as none of the
            classes; [0, 0] is 0.
        calibration: How sure the model was of the classes of the detected nuclei of known class.
    """

    panoptic: tuple[PanopticCounts, ...]
    detection: tuple[ClassDetectionCounts, ...]
    n_truth: NDArray[np.int64]
    n_found: NDArray[np.int64]
    right: int
    detected: int
    confusion: NDArray[np.int64]
    calibration: CalibrationCounts

    def only(self, places: Sequence[int]) -> ClassScores:
        """The scores of some classes each; what is of all classes at once is left as it is and means nothing."""
        kept = list(places)
        side = [0, *(place + 1 for place in kept)]
        return replace(
            self,
            panoptic=tuple(self.panoptic[i] for i in kept),
            detection=tuple(self.detection[i] for i in kept),
            n_truth=self.n_truth[kept],
            n_found=self.n_found[kept],
            confusion=self.confusion[np.ix_(side, side)],
        )

    @property
    def pq(self) -> NDArray[np.float64]:
        """(K,) PQ by PanNuke's convention, NaN for a class that is not in the image's truth."""
        return np.array([float(c.quality("pannuke").pq) for c in self.panoptic])


@dataclass(frozen=True, slots=True, eq=False)
class ImageScores:
    """Scores and counts of one image.

    Attributes:
        info: Where it is from.
        panoptic: Matches by IoU > 0.5, classes aside.
        detection: Matches by centroids within 3 µm, classes aside, paired as the mode says.
        most_pairs: The same with as many pairs as there can be within 3 µm, whatever the mode.
        aji: Aggregated Jaccard index.
        aji_plus: Its one-to-one form.
        dice: Dice of the foreground.
        dice_ensemble: Dice over overlapping pairs.
        classes: None if truth or result has no classes.
        tissue_right: Whether the model's head for tissues names the image's; None without such a head or tissue.
    """

    info: ImageInfo
    panoptic: PanopticCounts
    detection: DetectionCounts
    most_pairs: DetectionCounts
    aji: float
    aji_plus: float
    dice: float
    dice_ensemble: float
    classes: ClassScores | None
    tissue_right: bool | None = None

    @property
    def n_truth(self) -> int:
        """True nuclei."""
        return self.panoptic.tp + self.panoptic.fn

    @property
    def n_found(self) -> int:
        """Found nuclei."""
        return self.panoptic.tp + self.panoptic.fp

    @property
    def bpq(self) -> float:
        """Binary PQ by PanNuke's convention, NaN if there is no true nucleus or no outline of one."""
        return float(self.panoptic.quality("pannuke").pq) if self.info.told == "outlines" else float("nan")

    @property
    def mpq(self) -> float:
        """Mean of the classes' PQ by PanNuke's convention; NaN without classes or outlines."""
        if self.classes is None or self.info.told != "outlines":
            return float("nan")
        return float(nan_mean(self.classes.pq))


def score_image(
    truth: Labels,
    found: Instances,
    info: ImageInfo,
    *,
    n_classes: int,
    others: bool = False,
    mode: MatchMode = "hovernet",
) -> ImageScores:
    """Count everything on one image.

    Args:
        truth: True nuclei; their classes count from 1, 0 is unknown.
        found: Found nuclei on the same pixels; an instance's class is its most probable one.
        info: Where the image is from; its resolution sets the matching radius, and what its truth tells is scored.
        n_classes: Number of classes that are scored.
        others: Whether the result has a column of probabilities beyond them, for none of them.
        mode: How centroids are paired, see `metrics.detection`.

    Raises:
        InputError: Truth and result do not fit each other or the classes.
    """
    try:
        if info.told == "some centres":
            found = _near_centres(truth, found, detection_radius_px(info.mpp), mode)
        overlap = overlap_of(truth.instances, found.labels)
        true_xy, found_xy = centroids(truth.instances)[1], centroids(found.labels)[1]
        radius_px = detection_radius_px(info.mpp)
        match = match_centroids(true_xy, found_xy, radius_px=radius_px, mode=mode)
        most_pairs = match_centroids(true_xy, found_xy, radius_px=radius_px, mode="max_cardinality")
        classes = _class_scores(truth, found, overlap, match, n_classes, others=others)
    except InputError as error:
        raise InputError(f"Image '{info.name}' of {info.source}: {error}") from error
    if info.told == "outlines":
        panoptic, aji, aji_plus = count_matches(overlap), aji_of(overlap), aji_plus_of(overlap)
        dice, dice_ensemble = dice_of(overlap), dice_ensemble_of(overlap)
    else:
        n_truth, n_found = overlap.shape
        panoptic = PanopticCounts(0, n_found, n_truth, 0.0)
        aji = aji_plus = dice = dice_ensemble = float("nan")
    return ImageScores(
        info,
        panoptic=panoptic,
        detection=match.counts(),
        most_pairs=most_pairs.counts(),
        aji=aji,
        aji_plus=aji_plus,
        dice=dice,
        dice_ensemble=dice_ensemble,
        classes=classes,
    )


def _near_centres(truth: Labels, found: Instances, radius_px: float, mode: MatchMode) -> Instances:
    """What was found at true centres; of what lies elsewhere nobody said whether it is a nucleus."""
    true_xy, found_xy = centroids(truth.instances)[1], centroids(found.labels)[1]
    ids = np.unique(found.labels)
    matched = ids[ids > 0][match_centroids(true_xy, found_xy, radius_px=radius_px, mode=mode).found]
    kept = np.zeros(int(found.labels.max(initial=0)) + 1, np.bool_)
    kept[matched] = True
    labels, old = relabel_sequential(np.where(kept[found.labels], found.labels, 0).astype(np.int32))
    return Instances(labels, found.class_probabilities[old[1:] - 1], found.scores[old[1:] - 1])


def _class_scores(
    truth: Labels, found: Instances, overlap: Overlap, match: CentroidMatch, n_classes: int, *, others: bool
) -> ClassScores | None:
    if truth.types is None or n_classes == 0 or found.class_probabilities.shape[1] == 0:
        return None
    if found.class_probabilities.shape[1] != n_classes + others:
        raise InputError(
            f"the result has {found.class_probabilities.shape[1]} classes, but {n_classes} are to be scored; "
            "map the truth into the model's classes."
        )
    of_truth = types_by_row(truth.types, overlap.truth_ids, what="truth")
    if len(of_truth) and of_truth.max() > n_classes:
        raise InputError(f"the truth has a class {of_truth.max()}, but there are {n_classes} (0 is unknown).")
    found_types = np.concatenate([[0], found.class_probabilities.argmax(axis=1) + 1])
    found_types[found_types > n_classes] = 0  # none of the classes that are scored
    of_found = types_by_row(found_types, overlap.found_ids, what="result")
    known = of_truth[match.truth] > 0
    counted = np.delete(of_found, match.found[~known])
    true_class, found_id = of_truth[match.truth[known]], overlap.found_ids[match.found[known]]
    return ClassScores(
        count_class_matches(overlap, of_truth, of_found, n_classes=n_classes),
        class_detection_counts(match, of_truth, of_found, n_classes=n_classes),
        np.bincount(of_truth, minlength=n_classes + 1)[1:],
        np.bincount(counted, minlength=n_classes + 1)[1:],
        int(np.sum(known & (of_truth[match.truth] == of_found[match.found]))),
        int(known.sum()),
        _confusion(match, of_truth, of_found, n_classes),
        _calibration(found.class_probabilities[found_id - 1], true_class - 1, n_classes),
    )


def _calibration(
    probabilities: NDArray[np.float32], true_class: NDArray[np.int64], n_classes: int
) -> CalibrationCounts:
    counts = calibration_counts(probabilities, true_class)
    return replace(counts, squared_error=counts.squared_error[:n_classes])


def _confusion(
    match: CentroidMatch, of_truth: NDArray[np.int64], of_found: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """(K + 1, K + 1) nuclei by true and found class; those of unknown true class and their partners are in none."""
    missed, false = np.delete(of_truth, match.truth), np.delete(of_found, match.found)
    true = np.concatenate([of_truth[match.truth], missed, np.zeros_like(false)])
    found = np.concatenate([of_found[match.found], np.zeros_like(missed), false])
    known = (true > 0) | (np.arange(len(true)) >= len(match.truth) + len(missed))
    side = n_classes + 1
    table = np.bincount(true[known] * side + found[known], minlength=side**2).reshape(side, side).astype(np.int64)
    table[0, 0] = 0  # false finds of none of the classes
    return table
