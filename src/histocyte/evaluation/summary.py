"""From rows of images to the scores of a data set, each with its confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.evaluation.bootstrap import (
    Estimate,
    Statistic,
    bootstrap_weights,
    estimate,
    estimate_each,
    weighted_mean,
    weighted_pool,
    weighted_r_squared,
    weighted_strata_mean,
)
from histocyte.evaluation.image_scores import ClassScores, ImageScores
from histocyte.metrics.averages import nan_mean
from histocyte.metrics.panoptic import panoptic_quality

__all__ = ["SCORES", "ClassSummary", "SourceSummary", "StratumSummary", "summarise"]

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
    "accuracy": ("Class accuracy", "detected nuclei with the right class (HoVer-Net)"),
    "r2": ("R² of counts", "agreement of counts per image, mean over classes whose true count varies"),
    "r2_total": ("R² of all nuclei", "agreement of the number of all nuclei per image"),
    "bpq_strata": ("bPQ, stratum mean", "bPQ averaged within strata (tissues), then over them (PanNuke)"),
    "mpq_strata": ("mPQ, stratum mean", "mPQ averaged within strata (tissues), then over them (PanNuke)"),
}
"""Key of each score → its title and what it is."""


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """Scores of one class.

    Attributes:
        name: The class.
        n_truth: True nuclei in all images.
        n_found: Found nuclei.
        pq: From counts summed over all images.
        pq_mean: Mean over images whose truth has the class (PanNuke).
        f1: Detection and classification by HoVer-Net's definition, counts summed over all images.
        r2: Agreement of counts per image.
    """

    name: str
    n_truth: int
    n_found: int
    pq: Estimate
    pq_mean: Estimate
    f1: Estimate
    r2: Estimate


@dataclass(frozen=True, slots=True)
class StratumSummary:
    """Means within one stratum (tissue), NaN where undefined."""

    n_images: int
    bpq: float
    mpq: float


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
        strata: Means by stratum, empty without strata.
    """

    source: str
    n_images: int
    n_groups: int
    n_truth: int
    n_found: int
    scores: Mapping[str, Estimate]
    classes: tuple[ClassSummary, ...]
    strata: Mapping[str, StratumSummary]


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
    scores = _instance_scores(rows, weights)
    typed = [i for i, row in enumerate(rows) if row.classes is not None]
    parts = [row.classes for row in rows if row.classes is not None]
    classes: tuple[ClassSummary, ...] = ()
    if parts:
        within = weights[:, typed]
        classes = _by_class(parts, class_names, within)
        mpq = np.array([rows[i].mpq for i in typed])
        scores |= _class_scores(parts, mpq, within)
    strata = _strata(rows)
    if strata:
        names = [row.info.stratum for row in rows]
        for key in ("bpq", "mpq") if parts else ("bpq",):
            values = np.array([getattr(row, key) for row in rows])
            scores[f"{key}_strata"] = _estimate_mean(values, weights, weighted_strata_mean(values, names))
    return SourceSummary(
        rows[0].info.source,
        len(rows),
        len(set(filter(None, groups))) + groups.count(""),
        sum(row.n_truth for row in rows),
        sum(row.n_found for row in rows),
        {key: scores[key] for key in SCORES if key in scores},
        classes,
        strata,
    )


def _instance_scores(rows: Sequence[ImageScores], weights: NDArray[np.float64]) -> dict[str, Estimate]:
    panoptic = np.array([(r.panoptic.tp, r.panoptic.fp, r.panoptic.fn, r.panoptic.iou_sum) for r in rows], np.float64)
    detection = np.array([(r.detection.tp, r.detection.fp, r.detection.fn) for r in rows], np.float64)
    most_pairs = np.array([(r.most_pairs.tp, r.most_pairs.fp, r.most_pairs.fn) for r in rows], np.float64)
    quality = panoptic_quality(*panoptic.T, convention="pannuke")
    means = {
        "bpq": quality.pq,
        "dq": quality.dq,
        "sq": quality.sq,
        **{key: np.array([getattr(r, key) for r in rows]) for key in ("aji", "aji_plus", "dice", "dice_ensemble")},
        **{f"{key}_mean": np.array([getattr(r.detection, key) for r in rows]) for key in ("precision", "recall", "f1")},
    }
    pooled = {
        "pq_pooled": weighted_pool(panoptic, lambda t: panoptic_quality(*np.moveaxis(t, -1, 0)).pq),
        "precision": weighted_pool(detection, lambda t: _ratio(t[:, 0], t[:, 0] + t[:, 1])),
        "recall": weighted_pool(detection, lambda t: _ratio(t[:, 0], t[:, 0] + t[:, 2])),
        "f1": weighted_pool(detection, _pooled_f1),
        "f1_most_pairs": weighted_pool(most_pairs, _pooled_f1),
    }
    totals = np.array([(r.n_truth, r.n_found) for r in rows], np.int64)
    total_r2 = weighted_r_squared(totals[:, :1], totals[:, 1:])
    return {
        **{key: _estimate_mean(values, weights) for key, values in means.items()},
        **{key: estimate(statistic, weights) for key, statistic in pooled.items()},
        "r2_total": estimate(lambda w: total_r2(w)[:, 0], weights),
    }


def _pooled_f1(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    hits, false, missed = totals.T
    return _ratio(2 * hits, 2 * hits + false + missed)


def _class_scores(
    parts: Sequence[ClassScores], mpq: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, Estimate]:
    right = np.array([(p.right, p.detected) for p in parts], np.float64)
    pooled_pq, r2 = weighted_pool(_panoptic_table(parts), _pooled_pq), _r_squared(parts)
    return {
        "mpq": _estimate_mean(mpq, weights),
        "mpq_plus": estimate(lambda w: nan_mean(pooled_pq(w), axis=1), weights),
        "accuracy": estimate(weighted_pool(right, lambda t: _ratio(t[:, 0], t[:, 1])), weights),
        "r2": estimate(lambda w: nan_mean(r2(w), axis=1), weights),
    }


def _by_class(
    parts: Sequence[ClassScores], names: Sequence[str], weights: NDArray[np.float64]
) -> tuple[ClassSummary, ...]:
    detection = np.array(
        [[(c.tp, c.fp, c.fn, c.fp_unmatched, c.fn_unmatched) for c in p.detection] for p in parts], np.float64
    )
    pq_by_image = np.array([p.pq for p in parts])
    present = [int(n) for n in (~np.isnan(pq_by_image)).sum(axis=0)]
    columns = zip(
        names,
        np.sum([p.n_truth for p in parts], axis=0),
        np.sum([p.n_found for p in parts], axis=0),
        estimate_each(weighted_pool(_panoptic_table(parts), _pooled_pq), weights),
        estimate_each(weighted_mean(pq_by_image), weights, n=present),
        estimate_each(weighted_pool(detection, _pooled_class_f1), weights),
        estimate_each(_r_squared(parts), weights),
        strict=True,
    )
    return tuple(ClassSummary(name, int(truth), int(found), *scores) for name, truth, found, *scores in columns)


def _strata(rows: Sequence[ImageScores]) -> dict[str, StratumSummary]:
    names = sorted({row.info.stratum for row in rows} - {""})
    members = {name: [row for row in rows if row.info.stratum == name] for name in names}
    return {
        name: StratumSummary(len(m), float(nan_mean([r.bpq for r in m])), float(nan_mean([r.mpq for r in m])))
        for name, m in members.items()
    }


def _estimate_mean(
    values: NDArray[np.float64], weights: NDArray[np.float64], statistic: Statistic | None = None
) -> Estimate:
    return estimate(statistic or weighted_mean(values), weights, n=int((~np.isnan(values)).sum()))


def _panoptic_table(parts: Sequence[ClassScores]) -> NDArray[np.float64]:
    """(n, K, 4) counts."""
    return np.array([[(c.tp, c.fp, c.fn, c.iou_sum) for c in p.panoptic] for p in parts], np.float64)


def _pooled_pq(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, K) PQ by CoNIC's epsilons from (R, K, 4) counts; NaN for a class that is nowhere."""
    pq = panoptic_quality(*np.moveaxis(totals, -1, 0), convention="conic").pq
    return np.where(totals[..., :3].sum(axis=-1) > 0, pq, np.nan)


def _pooled_class_f1(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    tp, fp, fn, fp_unmatched, fn_unmatched = np.moveaxis(totals, -1, 0)
    return _ratio(2 * tp, 2 * (tp + fp + fn) + fp_unmatched + fn_unmatched)


def _r_squared(parts: Sequence[ClassScores]) -> Statistic:
    return weighted_r_squared(np.array([p.n_truth for p in parts]), np.array([p.n_found for p in parts]))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
