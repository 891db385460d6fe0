"""From rows of images to the scores of a data set, each with its confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from histocyte.evaluation.class_summary import (
    CalibrationSummary,
    ClassSummary,
    ConfusionSummary,
    class_statistics,
    summarise_calibration,
    summarise_classes,
    summarise_confusion,
)
from histocyte.evaluation.image_scores import ImageScores, Told
from histocyte.metrics.panoptic import panoptic_quality
from histocyte.statistics.bootstrap import (
    LEAST_UNITS,
    Estimate,
    Score,
    bootstrap_weights,
    weighted_pool,
    weighted_r_squared,
    weighted_strata_mean,
)

__all__ = [
    "CLASS_SCORES",
    "SCORES",
    "STRATUM_SCORES",
    "TOLD",
    "ClassSummary",
    "Kind",
    "SourceSummary",
    "StratumSummary",
    "not_told",
    "scores_of",
    "stratum_scores",
    "summarise",
    "title_of",
]

_FEW_FOR_R2 = f"no interval with fewer than {LEAST_UNITS} patients or images"

SCORES: Mapping[str, tuple[str, str]] = {
    "bpq": ("bPQ", "binary PQ, mean over images that have true nuclei (PanNuke)"),
    "dq": ("DQ", "its detection quality, mean over the same images"),
    "sq": ("SQ", "its segmentation quality, mean over the same images"),
    "pq_pooled": ("PQ, pooled", "binary PQ from counts summed over all images; false finds in empty images count"),
    "aji": ("AJI", "aggregated Jaccard index, mean over images"),
    "aji_plus": ("AJI+", "AJI with one-to-one assignment, mean over images"),
    "dice": ("Dice", "Dice of the foreground, mean over images"),
    "dice_ensemble": ("Dice, ensemble", "Dice over all overlapping pairs (HoVer-Net's Dice 2), mean over images"),
    "precision": ("Detection precision", "centroids within 3 µm, counts summed over all images"),
    "recall": ("Detection recall", "centroids within 3 µm, counts summed over all images"),
    "f1": ("Detection F1", "centroids within 3 µm, counts summed over all images"),
    "f1_most_pairs": ("Detection F1, most pairs", "the same with as many pairs as there can be within 3 µm"),
    "precision_mean": ("Detection precision, image mean", "mean over images where something was found"),
    "recall_mean": ("Detection recall, image mean", "mean over images that have true nuclei"),
    "f1_mean": ("Detection F1, image mean", "mean over images that have true or found nuclei"),
    "mpq": ("mPQ", "mean PQ over the classes in an image's truth, then over images (PanNuke)"),
    "mpq_plus": ("mPQ+", "PQ from counts summed over all images, mean over classes (CoNIC; absent classes left out)"),
    "mpq_plus_absent_0": (
        "mPQ+, absent classes 0",
        "the same with 0 for a class that is neither in the truth nor found, as CoNIC's program has it",
    ),
    "accuracy": ("Class accuracy", "detected nuclei with the right class (HoVer-Net)"),
    "r2": (
        "R² of counts",
        f"agreement of counts per image, mean over classes whose true count varies; {_FEW_FOR_R2}",
    ),
    "ece": (
        "Calibration error",
        "expected calibration error of the class probabilities of detected nuclei, 15 bins of equal width",
    ),
    "ece_mass": ("Calibration error, equal mass", "the same with 15 bins of about equal numbers of nuclei"),
    "brier": ("Brier score", "of the class probabilities of detected nuclei, summed over classes (0 to 2)"),
    "r2_total": ("R² of all nuclei", f"agreement of the number of all nuclei per image; {_FEW_FOR_R2}"),
    "tissue_accuracy": (
        "Tissue accuracy",
        "images whose tissue the model's head on the whole image names (CellViT), of those that state one it knows",
    ),
    "bpq_strata": ("bPQ, stratum mean", "bPQ averaged within strata (tissues), then over them (PanNuke)"),
    "mpq_strata": ("mPQ, stratum mean", "mPQ averaged within strata (tissues), then over them (PanNuke)"),
}
"""Key of each score → its title and what it is."""

CLASS_SCORES: Mapping[str, str] = {
    "pq": "PQ, pooled",
    "dq": "DQ, pooled",
    "sq": "SQ, pooled",
    "pq_mean": "PQ, image mean",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "r2": "R² of counts",
}
"""Field of `ClassSummary` → its title."""

_NEED_OUTLINES = frozenset(
    {
        *("bpq", "dq", "sq", "pq", "pq_pooled", "pq_mean", "aji", "aji_plus", "dice", "dice_ensemble"),
        *("mpq", "mpq_plus", "mpq_plus_absent_0", "bpq_strata", "mpq_strata"),
    }
)
"""Keys of scores of images and of classes that need true outlines."""

_NEED_EVERY_NUCLEUS = frozenset({"precision", "f1", "f1_most_pairs", "precision_mean", "f1_mean", "r2", "r2_total"})
"""Keys of scores that need the truth to tell every nucleus."""

_AT_NUCLEI = frozenset({"precision", "f1"})
"""Scores of a class that need no outlines: they are taken at the nuclei that the truth tells."""

TOLD: Mapping[Told, str] = {
    "outlines": "",
    "centres": "tells the centres of nuclei: detection and classes are scored, and no outlines",
    "some centres": "tells the centres of some nuclei: of these is scored how many are found, and their classes",
}
"""What a truth tells → what is scored of it, where that is not all; said of a data set."""

STRATUM_SCORES: Mapping[str, str] = {"bpq": "bPQ", "mpq": "mPQ", "f1": "Detection F1"}
"""Key of `StratumSummary.scores` → its title."""


@dataclass(frozen=True, slots=True)
class StratumSummary:
    """Scores within one stratum (tissue).

    Attributes:
        n_images: Its images.
        bpq: Mean bPQ, NaN where undefined.
        mpq: Mean mPQ, NaN where undefined.
        scores: bpq, mpq and f1 (counts summed over its images), with intervals over its own patients.
    """

    n_images: int
    bpq: float
    mpq: float
    scores: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """Scores of one data set.

    Attributes:
        source: Its name.
        n_images: Images scored.
        n_groups: Patients or slides they come from; what the intervals rest on.
        n_truth: True nuclei.
        n_found: Found nuclei.
        scores: By the keys of `SCORES`; the class scores only where there are classes.
        classes: One entry a class, empty without classes.
        strata: Scores by stratum, empty without strata.
        confusion: Which classes were found as which; None without classes.
        calibration: Whether class probabilities are to be believed; None without classes or probabilities.
        told: What its truth tells of nuclei.
    """

    source: str
    n_images: int
    n_groups: int
    n_truth: int
    n_found: int
    scores: Mapping[str, Estimate]
    classes: tuple[ClassSummary, ...]
    strata: Mapping[str, StratumSummary]
    confusion: ConfusionSummary | None = None
    calibration: CalibrationSummary | None = None
    told: Told = "outlines"


def summarise(
    rows: Sequence[ImageScores], class_names: Sequence[str], *, replicates: int = 1000, seed: int = 0
) -> SourceSummary:
    """Scores of one data set with 95 % intervals; images of one group are resampled together.

    Args:
        rows: Its images, one or more.
        class_names: The K classes.
        replicates: Number of bootstrap resamples.
        seed: The same seed gives the same intervals.
    """
    groups = [row.info.group for row in rows]
    weights = bootstrap_weights(groups, replicates=replicates, seed=seed)
    scores = {key: score.estimate(weights) for key, score in scores_of(rows).items()}
    typed = [i for i, row in enumerate(rows) if row.classes is not None]
    parts = [row.classes for row in rows if row.classes is not None]
    classes: tuple[ClassSummary, ...] = ()
    confusion = calibration = None
    if parts:
        within = weights[:, typed]
        classes = summarise_classes(parts, class_names, within)
        if rows[0].info.told != "outlines":
            classes = tuple(_without(c, not_told(rows[0].info.told, of_class=True)) for c in classes)
        confusion, calibration = summarise_confusion(parts, within), summarise_calibration(parts, within)
    return SourceSummary(
        rows[0].info.source,
        len(rows),
        len(set(filter(None, groups))) + groups.count(""),
        sum(row.n_truth for row in rows),
        sum(row.n_found for row in rows),
        scores,
        classes,
        _strata(rows, replicates, seed),
        confusion,
        calibration,
        rows[0].info.told,
    )


def scores_of(rows: Sequence[ImageScores]) -> dict[str, Score]:
    """The scores that n images of one data set have, by the keys and in the order of `SCORES`."""
    scores = _instance_scores(rows)
    typed = np.array([row.classes is not None for row in rows])
    parts = [row.classes for row in rows if row.classes is not None]
    strata = [row.info.stratum for row in rows]
    if parts:
        scores["mpq"] = Score.mean(np.array([row.mpq for row in rows]))
        scores |= {
            key: Score.on(typed, statistic, swings=key == "r2") for key, statistic in class_statistics(parts).items()
        }
    if any(row.tissue_right is not None for row in rows):
        right = np.array([np.nan if row.tissue_right is None else float(row.tissue_right) for row in rows])
        scores["tissue_accuracy"] = Score.mean(right)
    if any(strata):
        for key in ("bpq", "mpq") if parts else ("bpq",):
            values = np.array([getattr(row, key) for row in rows])
            scores[f"{key}_strata"] = Score.mean(values, weighted_strata_mean(values, strata))
    left = not_told(*(row.info.told for row in rows))
    return {key: scores[key] for key in SCORES if key in scores and key not in left}


def not_told(*told: Told, of_class: bool = False) -> frozenset[str]:
    """Keys of the scores, of images or of a class, that truths which tell so much do not give."""
    left = frozenset[str]() if set(told) <= {"outlines"} else _NEED_OUTLINES
    every = _NEED_EVERY_NUCLEUS - _AT_NUCLEI if of_class else _NEED_EVERY_NUCLEUS
    return left | every if "some centres" in told else left


def _without(scores: ClassSummary, keys: frozenset[str]) -> ClassSummary:
    nothing = Estimate(float("nan"), float("nan"), float("nan"), 0)
    fields: dict[str, Any] = dict.fromkeys(keys & set(CLASS_SCORES), nothing)
    return replace(scores, **fields)


def stratum_scores(rows: Sequence[ImageScores]) -> dict[str, Score]:
    """The scores that n images of one stratum have: bpq, mpq and f1."""
    everywhere = np.ones(len(rows), np.bool_)
    means = {key: Score.mean(np.array([getattr(r, key) for r in rows])) for key in ("bpq", "mpq")}
    every = "f1" not in not_told(*(row.info.told for row in rows))
    return means | ({"f1": Score(weighted_pool(_detection_table(rows), _pooled_f1), everywhere)} if every else {})


def _instance_scores(rows: Sequence[ImageScores]) -> dict[str, Score]:
    panoptic = np.array([(r.panoptic.tp, r.panoptic.fp, r.panoptic.fn, r.panoptic.iou_sum) for r in rows], np.float64)
    detection = _detection_table(rows)
    most_pairs = np.array([(r.most_pairs.tp, r.most_pairs.fp, r.most_pairs.fn) for r in rows], np.float64)
    quality = panoptic_quality(*panoptic.T, convention="pannuke")
    means = {
        "bpq": quality.pq,
        "dq": quality.dq,
        "sq": quality.sq,
        **{key: np.array([getattr(r, key) for r in rows]) for key in ("aji", "aji_plus", "dice", "dice_ensemble")},
        **{f"{key}_mean": np.array([getattr(r.detection, key) for r in rows]) for key in ("precision", "recall", "f1")},
    }
    totals = np.array([(r.n_truth, r.n_found) for r in rows], np.int64)
    total_r2 = weighted_r_squared(totals[:, :1], totals[:, 1:])
    pooled = {
        "pq_pooled": weighted_pool(panoptic, lambda t: panoptic_quality(*np.moveaxis(t, -1, 0)).pq),
        "precision": weighted_pool(detection, lambda t: _ratio(t[:, 0], t[:, 0] + t[:, 1])),
        "recall": weighted_pool(detection, lambda t: _ratio(t[:, 0], t[:, 0] + t[:, 2])),
        "f1": weighted_pool(detection, _pooled_f1),
        "f1_most_pairs": weighted_pool(most_pairs, _pooled_f1),
        "r2_total": lambda w: total_r2(w)[:, 0],
    }
    everywhere = np.ones(len(rows), np.bool_)
    return {
        **{key: Score.mean(values) for key, values in means.items()},
        **{key: Score(statistic, everywhere, key == "r2_total") for key, statistic in pooled.items()},
    }


def _detection_table(rows: Sequence[ImageScores]) -> NDArray[np.float64]:
    return np.array([(r.detection.tp, r.detection.fp, r.detection.fn) for r in rows], np.float64)


def _pooled_f1(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    hits, false, missed = totals.T
    return _ratio(2 * hits, 2 * hits + false + missed)


def _strata(rows: Sequence[ImageScores], replicates: int, seed: int) -> dict[str, StratumSummary]:
    strata = {}
    for name in sorted({row.info.stratum for row in rows} - {""}):
        own = [row for row in rows if row.info.stratum == name]
        weights = bootstrap_weights([row.info.group for row in own], replicates=replicates, seed=seed)
        scores = {key: score.estimate(weights) for key, score in stratum_scores(own).items()}
        strata[name] = StratumSummary(len(own), scores["bpq"].value, scores["mpq"].value, scores)
    return strata


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


Kind = Literal["all", "class", "stratum"]
"""What a score is of."""


def title_of(kind: Kind, subject: str, key: str) -> str:
    """A score's title for people.

    Args:
        kind: What the scores are for.
        subject: Name of the class or stratum; not used for all images.
        key: Key of `SCORES`, `CLASS_SCORES` or `STRATUM_SCORES`.

    >>> title_of("class", "epithelial", "pq")
    'epithelial: PQ, pooled'
    """
    if kind == "all":
        return SCORES[key][0]
    return f"{subject}: {(CLASS_SCORES if kind == 'class' else STRATUM_SCORES)[key]}"
