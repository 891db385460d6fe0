"""The classes' part in the scores of a data set: quality by class, confusion, and calibration of the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histocyte.evaluation.image_scores import ClassScores
from histocyte.metrics.calibration import Spacing, calibration_error, merge_bins
from histocyte.metrics.panoptic import panoptic_quality
from histocyte.statistics.averages import nan_mean
from histocyte.statistics.bootstrap import (
    Estimate,
    Score,
    Statistic,
    estimate,
    estimate_each,
    weighted_pool,
    weighted_r_squared,
)

__all__ = [
    "CalibrationSummary",
    "ClassSummary",
    "ConfusionSummary",
    "ReliabilityBin",
    "class_scores",
    "class_statistics",
    "states_probabilities",
    "summarise_calibration",
    "summarise_classes",
    "summarise_confusion",
]


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """Scores of one class.

    Attributes:
        name: The class.
        n_truth: True nuclei in all images.
        n_found: Found nuclei.
        pq: From counts summed over all images.
        dq: Its detection quality, of the same counts.
        sq: Its segmentation quality, the mean IoU of the pairs; 0 where no pair was found.
        pq_mean: Mean over images whose truth has the class (PanNuke).
        f1: Detection and classification by HoVer-Net's definition, counts summed over all images.
        precision: Precision, from the same counts; NaN where nothing was found as the class.
        recall: Recall, from the same counts; NaN where the truth has none of the class.
        r2: Agreement of counts per image.
    """

    name: str
    n_truth: int
    n_found: int
    pq: Estimate
    dq: Estimate
    sq: Estimate
    pq_mean: Estimate
    f1: Estimate
    precision: Estimate
    recall: Estimate
    r2: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionSummary:
    """Which true classes were found as which, over all images; index 0 is "nothing": a false find, or missed.

    Attributes:
        counts: (K + 1, K + 1) nuclei, true class by row, found class by column; [0, 0] is 0.
        shares: By row and column, the share of the row's nuclei in the column. Of row 0 they are shares of the false
            finds. Undefined in a row without nuclei.
    """

    counts: NDArray[np.int64]
    shares: tuple[tuple[Estimate, ...], ...]

    def to_json(self) -> dict[str, object]:
        """`counts` and `shares` as lists of rows."""
        return {"counts": self.counts.tolist(), "shares": [[s.to_json() for s in row] for row in self.shares]}


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Detected nuclei whose class was called with about the same probability.

    Attributes:
        low: Lower edge, not included; NaN for bins of equal mass.
        high: Upper edge, included; NaN for bins of equal mass.
        n: Nuclei in the bin.
        confidence: Their mean probability of the class they were called; NaN in an empty bin.
        accuracy: The share of them that are of that class.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Estimate

    def to_json(self) -> dict[str, object]:
        """The fields, with None for NaN."""
        numbers = {key: getattr(self, key) for key in ("low", "high", "confidence")}
        return {
            **{key: None if np.isnan(v) else float(v) for key, v in numbers.items()},
            "n": self.n,
            "accuracy": self.accuracy.to_json(),
        }


@dataclass(frozen=True, slots=True)
class CalibrationSummary:
    """Whether class probabilities of detected nuclei are to be believed.

    Attributes:
        n: Nuclei it rests on.
        bins: The reliability curve in 15 bins of equal width; empty bins included.
        equal_mass: The same in 15 bins of about equal numbers of nuclei.
        ece: Expected calibration error over the first.
        ece_mass: Over the second.
        brier: Brier score, summed over classes (0 to 2).
    """

    n: int
    bins: tuple[ReliabilityBin, ...]
    equal_mass: tuple[ReliabilityBin, ...]
    ece: Estimate
    ece_mass: Estimate
    brier: Estimate

    def to_json(self) -> dict[str, object]:
        """The fields; bins as lists."""
        return {
            "n": self.n,
            "bins": [b.to_json() for b in self.bins],
            "equal_mass": [b.to_json() for b in self.equal_mass],
            **{key: getattr(self, key).to_json() for key in ("ece", "ece_mass", "brier")},
        }


def summarise_classes(
    parts: Sequence[ClassScores], names: Sequence[str], weights: NDArray[np.float64]
) -> tuple[ClassSummary, ...]:
    """Each class's scores on n images, under (R, n) resamples."""
    scores = class_scores(parts)
    columns = zip(
        names,
        np.sum([p.n_truth for p in parts], axis=0),
        np.sum([p.n_found for p in parts], axis=0),
        *(score.estimate_each(weights) for score in scores.values()),
        strict=True,
    )
    return tuple(
        ClassSummary(name, int(truth), int(found), **dict(zip(scores, each, strict=True)))
        for name, truth, found, *each in columns
    )


def class_scores(parts: Sequence[ClassScores]) -> dict[str, Score]:
    """The scores of K classes, by the fields of `ClassSummary`."""
    panoptic, detection = _panoptic_table(parts), _detection_table(parts)
    pq_by_image = np.array([p.pq for p in parts])
    everywhere = np.ones(pq_by_image.shape, np.bool_)
    occurs = np.array([np.add(p.n_truth, p.n_found) > 0 for p in parts]).reshape(pq_by_image.shape)

    def quality(part: Literal["dq", "sq", "pq"]) -> Score:
        return Score(weighted_pool(panoptic, lambda totals: _pooled_quality(totals, part)), occurs)

    return {
        "pq": quality("pq"),
        "dq": quality("dq"),
        "sq": quality("sq"),
        "pq_mean": Score.mean(pq_by_image),
        "f1": Score(weighted_pool(detection, _pooled_class_f1), occurs),
        "precision": Score(weighted_pool(detection, _pooled_class_precision), occurs),
        "recall": Score(weighted_pool(detection, _pooled_class_recall), occurs),
        "r2": Score(_r_squared(parts), everywhere, swings=True),
    }


def class_statistics(parts: Sequence[ClassScores]) -> dict[str, Statistic]:
    """Scores over all classes, by key; those of calibration only where probabilities are stated."""
    right = np.array([(p.right, p.detected) for p in parts], np.float64)
    pooled_pq = weighted_pool(_panoptic_table(parts), lambda totals: _pooled_quality(totals, "pq"))
    r2 = _r_squared(parts)
    statistics: dict[str, Statistic] = {
        "mpq_plus": lambda w: nan_mean(pooled_pq(w), axis=1),
        "mpq_plus_absent_0": lambda w: _mean_with_absent_0(pooled_pq(w)),
        "accuracy": weighted_pool(right, lambda t: _ratio(t[:, 0], t[:, 1])),
        "r2": lambda w: nan_mean(r2(w), axis=1),
    }
    if states_probabilities(parts):
        table = np.array([p.calibration.table for p in parts])
        squared = np.array([(p.calibration.squared_error.sum(), p.calibration.n) for p in parts])
        statistics["ece"] = weighted_pool(table, lambda t: calibration_error(merge_bins(t)))
        statistics["ece_mass"] = weighted_pool(table, lambda t: calibration_error(merge_bins(t, spacing="mass")))
        statistics["brier"] = weighted_pool(squared, lambda t: _ratio(t[:, 0], t[:, 1]))
    return statistics


def summarise_confusion(parts: Sequence[ClassScores], weights: NDArray[np.float64]) -> ConfusionSummary:
    """The confusion of n images, under (R, n) resamples."""
    tables = np.array([p.confusion for p in parts], np.float64)
    side = tables.shape[1]

    def shares(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        return _ratio(totals, totals.sum(axis=-1, keepdims=True)).reshape(-1, side * side)

    has = np.repeat(tables.sum(axis=-1) > 0, side, axis=1)
    flat = estimate_each(weighted_pool(tables, shares), weights, defined=has)
    rows = tuple(tuple(flat[i * side : (i + 1) * side]) for i in range(side))
    return ConfusionSummary(tables.sum(axis=0).astype(np.int64), rows)


def summarise_calibration(parts: Sequence[ClassScores], weights: NDArray[np.float64]) -> CalibrationSummary | None:
    """The calibration on n images, under (R, n) resamples; None where each class is stated with probability 1.

    Results of other tools often name a class and no probability: there is nothing to calibrate then.
    """
    if not states_probabilities(parts):
        return None
    statistics = class_statistics(parts)
    return CalibrationSummary(
        sum(p.calibration.n for p in parts),
        _reliability(parts, weights, "width"),
        _reliability(parts, weights, "mass"),
        *(estimate(statistics[key], weights) for key in ("ece", "ece_mass", "brier")),
    )


def _reliability(
    parts: Sequence[ClassScores], weights: NDArray[np.float64], spacing: Spacing
) -> tuple[ReliabilityBin, ...]:
    tables = np.array([p.calibration.table for p in parts])
    whole = merge_bins(tables.sum(axis=0), spacing=spacing)
    # Bins of equal mass move with the resample: an image lies in none of them for good.
    has = merge_bins(tables).n > 0 if spacing == "width" else tables.sum(axis=(1, 2)) > 0
    accuracy = estimate_each(
        weighted_pool(tables, lambda t: merge_bins(t, spacing=spacing).accuracy), weights, defined=has
    )
    edges = np.linspace(0, 1, len(whole.n) + 1) if spacing == "width" else np.full(len(whole.n) + 1, np.nan)
    return tuple(
        ReliabilityBin(float(edges[i]), float(edges[i + 1]), int(whole.n[i]), float(whole.confidence[i]), share)
        for i, share in enumerate(accuracy)
    )


def states_probabilities(parts: Sequence[ClassScores]) -> bool:
    """Whether any class is stated with a probability below 1."""
    count, confidence = np.sum([p.calibration.table[:, :2].sum(axis=0) for p in parts], axis=0)
    return bool(confidence < count)


def _panoptic_table(parts: Sequence[ClassScores]) -> NDArray[np.float64]:
    """(n, K, 4) counts."""
    return np.array([[(c.tp, c.fp, c.fn, c.iou_sum) for c in p.panoptic] for p in parts], np.float64)


def _detection_table(parts: Sequence[ClassScores]) -> NDArray[np.float64]:
    """(n, K, 5) counts."""
    counts = [[(c.tp, c.fp, c.fn, c.fp_unmatched, c.fn_unmatched) for c in p.detection] for p in parts]
    return np.array(counts, np.float64)


def _pooled_quality(totals: NDArray[np.float64], part: Literal["dq", "sq", "pq"]) -> NDArray[np.float64]:
    """(R, K) DQ, SQ or PQ by CoNIC's epsilons from (R, K, 4) counts; NaN for a class that is nowhere."""
    quality = panoptic_quality(*np.moveaxis(totals, -1, 0), convention="conic")
    return np.where(totals[..., :3].sum(axis=-1) > 0, getattr(quality, part), np.nan)


def _mean_with_absent_0(pq: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) means of (R, K) PQ in which a class that is nowhere scores 0; NaN where none is anywhere."""
    return np.where(np.isnan(pq).all(axis=1), np.nan, np.nan_to_num(pq).mean(axis=1))


def _pooled_class_f1(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    tp, fp, fn, fp_unmatched, fn_unmatched = np.moveaxis(totals, -1, 0)
    return _ratio(2 * tp, 2 * (tp + fp + fn) + fp_unmatched + fn_unmatched)


def _pooled_class_precision(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    tp, fp, _, fp_unmatched, _ = np.moveaxis(totals, -1, 0)
    return _ratio(tp, tp + 2 * fp + fp_unmatched)


def _pooled_class_recall(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    tp, _, fn, _, fn_unmatched = np.moveaxis(totals, -1, 0)
    return _ratio(tp, tp + 2 * fn + fn_unmatched)


def _r_squared(parts: Sequence[ClassScores]) -> Statistic:
    return weighted_r_squared(np.array([p.n_truth for p in parts]), np.array([p.n_found for p in parts]))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
