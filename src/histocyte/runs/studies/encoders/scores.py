"""Scores of the encoder study as functions of how often each held-out image counts, over seeds and data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.evaluation.class_summary import class_scores
from histocyte.evaluation.image_scores import ImageScores
from histocyte.evaluation.summary import SCORES as ALL_SCORES
from histocyte.evaluation.summary import scores_of
from histocyte.statistics.averages import nan_mean
from histocyte.statistics.bootstrap import Statistic, bootstrap_weights

__all__ = ["ALL", "SCORES", "HeldOut", "less", "mean_of", "over_sets"]

ALL = "all sets"
"""Mean over the data sets, each counting the same."""

SCORES: Mapping[str, tuple[str, str]] = {
    **{key: ALL_SCORES[key] for key in ("bpq", "dq", "sq", "f1")},
    "class_f1": ("Class F1", "detection and class together (HoVer-Net), counts summed over images, mean over classes"),
    "mpq_plus": ALL_SCORES["mpq_plus"],
}
"""Key → title and what it is."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The images that every run was scored on.

    Attributes:
        images: Data set, name and patient or slide of each, in order.
    """

    images: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, runs: Sequence[Sequence[ImageScores]]) -> HeldOut:
        """Those of all runs.

        Raises:
            InputError: They differ.
        """
        images = [tuple((r.info.source, r.info.name, r.info.group) for r in rows) for rows in runs]
        if any(other != images[0] for other in images):
            raise InputError("The results of this study rest on different held-out images; begin it in a new folder.")
        return cls(images[0])

    @property
    def sources(self) -> tuple[str, ...]:
        """Data sets, in order."""
        return tuple(dict.fromkeys(source for source, _, _ in self.images))

    def of_source(self, source: str) -> list[int]:
        """Places of a data set's images."""
        return [i for i, image in enumerate(self.images) if image[0] == source]

    def groups(self, source: str) -> int | None:
        """Number of patients or slides of a data set; None where they are not stated and each image stands alone."""
        mine = [(name, group) for s, name, group in self.images if s == source]
        if all(group in ("", name) for name, group in mine):
            return None
        return len({group or name for name, group in mine})

    def resamples(self, replicates: int, seed: int) -> NDArray[np.float64]:
        """(R, n) resamples of groups within each data set, so that no set is missing from any."""
        weights = np.zeros((replicates, len(self.images)))
        for number, source in enumerate(self.sources):
            mine = self.of_source(source)
            groups = [self.images[i][2] for i in mine]
            # A seed of its own for each: sets of equal size would be resampled alike otherwise.
            weights[:, mine] = bootstrap_weights(groups, replicates=replicates, seed=seed + number)
        return weights


def over_sets(key: str, rows: Sequence[ImageScores], held_out: HeldOut, sources: Sequence[str]) -> Statistic | None:
    """One run's score, the mean over data sets of the score on each; None where no set has it."""
    parts: list[tuple[list[int], Statistic]] = []
    for source in sources:
        mine = held_out.of_source(source)
        statistic = _on_one_set(key, [rows[i] for i in mine])
        if statistic is not None:
            parts.append((mine, statistic))
    if not parts:
        return None
    return lambda weights: nan_mean(np.stack([s(weights[:, mine]) for mine, s in parts], axis=1), axis=1)


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several, over the seeds."""
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)


def less(one: Statistic, other: Statistic) -> Statistic:
    """The difference of two on the same images."""
    return lambda weights: one(weights) - other(weights)


def _on_one_set(key: str, rows: Sequence[ImageScores]) -> Statistic | None:
    if key != "class_f1":
        score = scores_of(rows).get(key)
        return None if score is None else score.statistic
    typed = [i for i, row in enumerate(rows) if row.classes is not None]
    if not typed:
        return None
    of_classes = class_scores([row.classes for row in rows if row.classes is not None])["f1"].statistic
    return lambda weights: nan_mean(of_classes(weights[:, typed]), axis=1)
