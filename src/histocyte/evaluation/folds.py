"""Several folds of a cross-validation as one result, as published figures on PanNuke are made (Gamper et al. 2020).

Within a fold every score is that of its report: bPQ and mPQ are averaged over the images of a tissue, then over tissues
(`bpq_strata`, `mpq_strata`); those of a class over the images of the fold whose truth has it (`pq_mean`). Then each
score is averaged over the folds. Its standard deviation is told twice and named, since papers print either: over the
folds' scores, and (bPQ and mPQ by tissue) over the tissues' means over folds.

The interval of the mean is a bootstrap by patient or slide over all folds at once: an image that stands in two folds is
drawn for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.names import counted
from histocyte.evaluation.class_summary import class_scores
from histocyte.evaluation.image_json import StoredReport
from histocyte.evaluation.image_scores import ImageScores
from histocyte.evaluation.summary import Kind, scores_of, stratum_scores, title_of
from histocyte.files.csv_file import write_rows
from histocyte.statistics.averages import nan_mean
from histocyte.statistics.bootstrap import (
    LEAST_GROUPS,
    Estimate,
    Score,
    bootstrap_weights,
    estimate_each,
    few_groups,
)

__all__ = ["Deviation", "FoldScore", "Folds", "merge_folds"]

Deviation = Literal["sample", "population"]


@dataclass(frozen=True, slots=True)
class FoldScore:
    """One score over folds.

    Attributes:
        kind: What it is for: all images, a class, or a stratum (tissue).
        subject: The class or stratum, empty for all.
        key: A key of `SCORES`, `CLASS_SCORES` or `STRATUM_SCORES`.
        folds: The score of each fold; NaN where undefined.
        mean: Over the folds where it is defined; its n counts an image once a fold.
        std_folds: Standard deviation over those folds; NaN for one.
        std_strata: Deviation of `bpq_strata` and `mpq_strata` over the strata's means over folds; else NaN.
    """

    kind: Kind
    subject: str
    key: str
    folds: tuple[Estimate, ...]
    mean: Estimate
    std_folds: float
    std_strata: float = float("nan")

    @property
    def title(self) -> str:
        """For people."""
        return title_of(self.kind, self.subject, self.key)

    def to_json(self) -> dict[str, object]:
        """The fields, with None for NaN."""
        numbers = {key: getattr(self, key) for key in ("std_folds", "std_strata")}
        return {
            "kind": self.kind,
            "subject": self.subject,
            "key": self.key,
            "folds": [fold.to_json() for fold in self.folds],
            "mean": self.mean.to_json(),
            **{key: None if np.isnan(v) else v for key, v in numbers.items()},
        }


@dataclass(frozen=True, slots=True)
class Folds:
    """The result of several folds.

    Attributes:
        titles: What the folds are called.
        n_images: Images of each.
        scores: Every score.
        std: Standard deviations with n - 1 ("sample") or n ("population") as divisor.
        replicates: Bootstrap resamples behind each interval.
        seed: Their seed.
        notes: What a reader should know, in sentences.
    """

    titles: tuple[str, ...]
    n_images: tuple[int, ...]
    scores: tuple[FoldScore, ...]
    std: Deviation
    replicates: int
    seed: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """A JSON-ready description; `scores` are those of `FoldScore.to_json`, undefined values None."""
        return {
            "format": "histocyte-folds/1",
            "settings": {
                "replicates": self.replicates,
                "seed": self.seed,
                "level": 0.95,
                "least_groups": LEAST_GROUPS,
                "std": self.std,
            },
            "folds": [{"title": t, "n_images": n} for t, n in zip(self.titles, self.n_images, strict=True)],
            "scores": [score.to_json() for score in self.scores],
            "notes": list(self.notes),
        }

    def write_csv(self, path: Path) -> None:
        """Write one line a score; empty where undefined.

        Raises:
            DiskError: The file could not be written.
        """
        folds = [f"fold {i}" for i in range(1, len(self.titles) + 1)]
        heads = ("mean", "mean low", "mean high", "std over folds", "std over strata", *folds)
        rows = []
        for s in self.scores:
            numbers = [s.mean.value, s.mean.low, s.mean.high, s.std_folds, s.std_strata, *(f.value for f in s.folds)]
            rows.append([s.kind, s.subject, s.key, s.mean.n, *("" if np.isnan(v) else v for v in numbers)])
        write_rows(path, ["kind", "subject", "score", "images", *heads], rows)


def merge_folds(
    reports: Sequence[StoredReport], *, std: Deviation = "sample", replicates: int = 1000, seed: int = 0
) -> Folds:
    """Average every score over folds; a fold is all images of a report, whatever their data sets.

    Args:
        reports: One a fold, two or more, with the same classes.
        std: Divisor of the standard deviations: n - 1, or n as numpy's default has it.
        replicates: Bootstrap resamples.
        seed: The same seed gives the same intervals.

    Raises:
        InputError: Fewer than two, one twice, or they do not go together.
        UnknownNameError: There is no such divisor.
    """
    if std not in get_args(Deviation):
        raise UnknownNameError("standard deviation", std, get_args(Deviation))
    if len(reports) < 2:
        raise InputError("Folds are averaged from two reports or more; pass one for each fold.")
    first = reports[0]
    names = first.names_of(first.images[0].info.source)
    for report in reports:
        lists = {report.names_of(row.info.source) for row in report.images}
        if lists != {names} or report.mode != first.mode:
            raise InputError(
                f"'{report.path}' was scored for other classes or paired otherwise than '{first.path}': "
                "folds must be scored alike, and so must their data sets."
            )
    merge = _Merge(std, replicates, seed)
    folds = [report.images for report in reports]
    strata = sorted({row.info.stratum for fold in folds for row in fold} - {""})
    of_strata = []
    for name in strata:
        own = [[row for row in fold if row.info.stratum == name] for fold in folds]
        of_strata += merge.scores("stratum", [name], own, [stratum_scores(fold) if fold else {} for fold in own])
    overall = merge.scores("all", [""], folds, [scores_of(fold) for fold in folds])
    typed = [[row for row in fold if row.classes is not None] for fold in folds]
    parts = [[row.classes for row in fold if row.classes is not None] for fold in typed]
    of_classes = merge.scores("class", names, typed, [class_scores(part) if part else {} for part in parts])
    for i, score in enumerate(overall):
        key = score.key.removesuffix("_strata")
        if key != score.key:
            means = np.array([s.mean.value for s in of_strata if s.key == key])
            overall[i] = replace(score, std_strata=merge.deviation(means))
    shown = tuple(s for s in (*overall, *of_classes, *of_strata) if not np.isnan(s.mean.value))
    return Folds(
        tuple(report.path.stem for report in reports),
        tuple(map(len, folds)),
        shown,
        std,
        replicates,
        seed,
        (*_repeated(reports), *few_groups(s.mean for s in shown)),
    )


def _repeated(reports: Sequence[StoredReport]) -> list[str]:
    """What is said of images that several reports have scored: their mean is one over models, and not over folds.

    Raises:
        InputError: A report is given twice.
    """
    paths = [report.path.resolve() for report in reports]
    twice = next((report for i, report in enumerate(reports) if paths[i] in paths[:i]), None)
    if twice is not None:
        raise InputError(f"'{twice.path}' is given twice. Pass the report of each fold once.")
    seen = Counter((row.info.source, row.info.name) for report in reports for row in report.images)
    common = [f"{source}/{name}" for (source, name), times in seen.items() if times > 1]
    if not common:
        return []
    named = ", ".join(common[:3]) + (", …" if len(common) > 3 else "")
    models = ", ".join(dict.fromkeys(report.title for report in reports))
    return [
        f"{counted(len(common), 'image stands', 'images stand')} in more than one report ({named}): of these the mean "
        "is one over models "
        f"({models}) on the same images, as of repeated trainings, and not over folds."
    ]


@dataclass(frozen=True, slots=True)
class _Merge:
    """How folds are averaged."""

    std: Deviation
    replicates: int
    seed: int

    def deviation(self, values: NDArray[np.float64]) -> float:
        """Deviation of the defined ones; NaN for fewer than two."""
        defined = values[~np.isnan(values)]
        return float(np.std(defined, ddof=1 if self.std == "sample" else 0)) if len(defined) > 1 else float("nan")

    def scores(
        self,
        kind: Kind,
        subjects: Sequence[str],
        folds: Sequence[Sequence[ImageScores]],
        scores: Sequence[Mapping[str, Score]],
    ) -> list[FoldScore]:
        """Every score that any of the folds has, of each of the K subjects."""
        each = [bootstrap_weights([r.info.group for r in f], replicates=self.replicates, seed=self.seed) for f in folds]
        joint = bootstrap_weights(
            [_unit(row) for fold in folds for row in fold], replicates=self.replicates, seed=self.seed
        )
        ends = np.cumsum([0, *map(len, folds)])
        columns = [slice(int(low), int(high)) for low, high in zip(ends[:-1], ends[1:], strict=True)]
        k = len(subjects)
        result = []
        for key in dict.fromkeys(key for of_fold in scores for key in of_fold):
            given = [of_fold.get(key, _absent(len(fold), k)) for of_fold, fold in zip(scores, folds, strict=True)]

            def mean(weights: NDArray[np.float64], given: Sequence[Score] = given) -> NDArray[np.float64]:
                values = [s.statistic(weights[:, c]).reshape(-1, k) for s, c in zip(given, columns, strict=True)]
                return nan_mean(np.stack(values), axis=0)

            defined = np.concatenate([score.defined.reshape(-1, k) for score in given])
            means = estimate_each(mean, joint, defined=defined, swings=any(score.swings for score in given))
            by_fold = [_columns(score, weights, k) for score, weights in zip(given, each, strict=True)]
            for i, (subject, value) in enumerate(zip(subjects, means, strict=True)):
                own = tuple(fold[i] for fold in by_fold)
                spread = self.deviation(np.array([fold.value for fold in own]))
                result.append(FoldScore(kind, subject, key, own, value, spread))
        return result


def _columns(score: Score, weights: NDArray[np.float64], k: int) -> list[Estimate]:
    return estimate_each(
        lambda w: score.statistic(w).reshape(-1, k), weights, defined=score.defined, swings=score.swings
    )


def _absent(n: int, k: int) -> Score:
    """Undefined, for a fold without this class or tissue."""
    return Score(lambda weights: np.full((len(weights), k), np.nan), np.zeros((n, k), np.bool_))


def _unit(row: ImageScores) -> str:
    """What is drawn as one: the patient of a data set, or else the image."""
    return repr((row.info.source, row.info.group, "" if row.info.group else row.info.name))
