"""Percentile bootstrap: how far a score would move had other images (or patients) been drawn.

A resample is a row of weights, how often each image was drawn. A score is a function of such rows, which makes the
replicates matrix products and lets the estimate itself be the score under weights of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError

__all__ = [
    "FEW_GROUPS",
    "GROUPS",
    "LEAST_GROUPS",
    "LEAST_UNITS",
    "MOST_UNDEFINED",
    "Estimate",
    "Score",
    "Statistic",
    "bootstrap_weights",
    "estimate",
    "estimate_each",
    "estimates_of",
    "few_groups",
    "groups_behind",
    "resampled_units",
    "weighted_mean",
    "weighted_pool",
    "weighted_r_squared",
    "weighted_strata_mean",
]

GROUPS = ("patient, slide or single image", "patients, slides or single images")
"""What resamples are drawn of: one, and several (for `core.names.counted`)."""

LEAST_GROUPS = 5
"""So many patients, slides or single images a score has to rest on to have an interval. Of one nothing can be drawn;
of two a resample is one of three, and its 95 % are the two images' own values: the interval says nothing, and looks as
though it did."""

LEAST_UNITS, MOST_UNDEFINED = 10, 0.05
"""R² is 1 less errors by the spread of the counts. Of few patients or images, some resamples hold one all but alone,
with next to no spread, and the interval says how often that came about: with five images and counts within 15 % it
reaches from about -3 to 1. So R² has an interval from ten patients or images on, and where the spread is 0 in no more
than this share of the resamples (not so for a class that one or two images have)."""

FEW_GROUPS = (
    f"– for an interval: fewer than {LEAST_GROUPS} patients, slides or single images are behind the score "
    f"({LEAST_UNITS} for R²), too few to tell how far it would move."
)
"""What stands under tables with such a score, and what they say of all intervals."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""(R, n) weights of n images in R resamples → (R,) values, or (R, K) for K scores at once; NaN where undefined."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its confidence interval.

    Attributes:
        value: The score on all images; NaN where undefined.
        low: Lower end of the interval; NaN where it cannot be told (fewer than `LEAST_GROUPS` groups, every replicate
            undefined, or R² of few, see `LEAST_UNITS`).
        high: Upper end.
        n: Images that the score rests on.
        dropped: Replicates in which it was undefined; they are left out of the interval.
    """

    value: float
    low: float
    high: float
    n: int
    dropped: int = 0

    def to_json(self) -> dict[str, float | int | None]:
        """The fields, with None for NaN."""
        value, low, high = (None if np.isnan(v) else float(v) for v in (self.value, self.low, self.high))
        return {"value": value, "low": low, "high": high, "n": self.n, "dropped": self.dropped}


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A score as a function of how often each of n images counts.

    Attributes:
        statistic: The score, or K of them.
        defined: (n,) or (n, K) which images it rests on.
        swings: Whether it is an R², which has no interval on few images (`LEAST_UNITS`).
    """

    statistic: Statistic
    defined: NDArray[np.bool_]
    swings: bool = False

    @classmethod
    def on(cls, images: NDArray[np.bool_], statistic: Statistic, *, swings: bool = False) -> Score:
        """A score that looks at some of the images alone: `statistic` takes the weights of those."""
        chosen = np.flatnonzero(images)
        return cls(lambda weights: statistic(weights[:, chosen]), images, swings)

    @classmethod
    def mean(cls, values: NDArray[np.float64], statistic: Statistic | None = None) -> Score:
        """The mean of (n,) or (n, K) values where they are defined, or another statistic of them."""
        return cls(statistic or weighted_mean(values), ~np.isnan(values))

    def estimate(self, weights: NDArray[np.float64]) -> Estimate:
        """The one score with its interval under (R, n) resamples."""
        (only,) = estimate_each(lambda w: self.statistic(w)[:, None], weights, defined=self.defined, swings=self.swings)
        return only

    def estimate_each(self, weights: NDArray[np.float64]) -> list[Estimate]:
        """The K scores with their intervals."""
        return estimate_each(self.statistic, weights, defined=self.defined, swings=self.swings)


def few_groups(estimates: Iterable[Estimate]) -> list[str]:
    """The sentence that says why there is no interval, where any of these scores has none."""
    return [FEW_GROUPS] if any(math.isnan(e.low) and not math.isnan(e.value) for e in estimates) else []


def resampled_units(groups: Sequence[str]) -> NDArray[np.int64]:
    """(n,) which unit each image is drawn with, counted from 0: its group's, or its own where the group is empty."""
    names = [("group", group) if group else ("image", str(i)) for i, group in enumerate(groups)]
    position = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([position[name] for name in names], np.int64)


def bootstrap_weights(groups: Sequence[str], *, replicates: int = 1000, seed: int = 0) -> NDArray[np.float64]:
    """(R, n) how often each of n images is drawn in R resamples with replacement.

    Args:
        groups: What is drawn as one (patient or slide) for each image; an image with an empty name stands alone.
        replicates: R.
        seed: The same seed gives the same resamples.

    Raises:
        InputError: Fewer than one replicate.
    """
    if replicates < 1:
        raise InputError(f"A bootstrap needs at least 1 replicate, not {replicates}.")
    units = resampled_units(groups)
    if len(units) == 0:
        return np.zeros((replicates, 0))
    count = int(units.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), replicates)
    return drawn[:, units].astype(np.float64)


def estimate(
    statistic: Statistic, weights: NDArray[np.float64], *, defined: NDArray[np.bool_] | None = None, level: float = 0.95
) -> Estimate:
    """The score, and the interval that holds the middle `level` of its replicates.

    Args:
        statistic: The score, one value a resample.
        weights: (R, n) resamples, see `bootstrap_weights`.
        defined: (n,) images that the score rests on, if not all.
        level: Share of the replicates within the interval.
    """
    (only,) = estimate_each(lambda w: statistic(w)[:, None], weights, defined=defined, level=level)
    return only


def estimate_each(
    statistic: Statistic,
    weights: NDArray[np.float64],
    *,
    defined: NDArray[np.bool_] | None = None,
    level: float = 0.95,
    swings: bool = False,
) -> list[Estimate]:
    """`estimate` for K scores: the statistic gives (R, K), `defined` is (n,) or (n, K); `swings` as of `Score`."""
    value = statistic(np.ones((1, weights.shape[1])))[0]
    seen = np.ones(weights.shape[1], np.bool_) if defined is None else defined
    seen = np.broadcast_to(seen[:, None] if seen.ndim == 1 else seen, (len(seen), len(value)))
    return estimates_of(
        value,
        statistic(weights),
        n=seen.sum(axis=0).tolist(),
        groups=groups_behind(_drawn_alike(weights), seen),
        level=level,
        swings=swings,
    )


def groups_behind(units: NDArray[np.integer], defined: NDArray[np.bool_]) -> list[int]:
    """Distinct units (n,) among the images that each of K scores rests on, (n, K)."""
    return [len(np.unique(units[column])) for column in defined.T]


def _drawn_alike(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) unit of each image from (R, n) resamples: images of one patient are always drawn alike.

    That two patients are drawn alike so many times over by chance does not happen.
    """
    if not weights.size:
        return np.zeros(weights.shape[1], np.int64)
    return np.unique(weights[:64], axis=1, return_inverse=True)[1].ravel()


def estimates_of(
    value: NDArray[np.float64],
    replicates: NDArray[np.float64],
    *,
    n: Sequence[int],
    groups: Sequence[int],
    level: float = 0.95,
    swings: bool = False,
) -> list[Estimate]:
    """K scores with their intervals, from (K,) values and their (R, K) replicates.

    Args:
        value: The scores on all images.
        replicates: The scores in each resample.
        n: Images behind each.
        groups: Patients, slides or single images behind each; of fewer than `LEAST_GROUPS` there is no interval.
        level: Share of the replicates within the interval.
        swings: As of `Score`.
    """
    results = []
    least = (1 - MOST_UNDEFINED) * len(replicates) if swings else 1
    least_groups = LEAST_UNITS if swings else LEAST_GROUPS
    for k, point in enumerate(value):
        defined = replicates[:, k][~np.isnan(replicates[:, k])]
        low = high = float("nan")
        if groups[k] >= least_groups and len(defined) >= least and not np.isnan(point):
            low, high = (float(v) for v in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
        results.append(Estimate(float(point), low, high, n[k], len(replicates) - len(defined)))
    return results


def weighted_mean(values: NDArray[np.float64]) -> Statistic:
    """Mean over images of (n,) or (n, K) values, NaN skipped."""
    defined = (~np.isnan(values)).astype(np.float64)
    filled = np.nan_to_num(values, nan=0.0)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total, count = weights @ filled, weights @ defined
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    return statistic


def weighted_strata_mean(values: NDArray[np.float64], strata: Sequence[str]) -> Statistic:
    """Mean of (n,) values within each stratum (tissue), then over the strata that have any."""
    names = np.asarray(strata)
    spread = np.where(names[:, None] == np.unique(names)[None], values[:, None], np.nan)
    within = weighted_mean(spread)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        means = within(weights)
        count = (~np.isnan(means)).sum(axis=1)
        return np.where(count > 0, np.nansum(means, axis=1) / np.maximum(count, 1), np.nan)

    return statistic


def weighted_pool(
    counts: NDArray[np.float64], formula: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Statistic:
    """A score of summed counts: (n, ..., C) counts an image → formula((R, ..., C) sums)."""

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return formula(np.tensordot(weights, counts, axes=1))

    return statistic


def weighted_r_squared(truth: NDArray[np.integer], found: NDArray[np.integer]) -> Statistic:
    """R² over images of each column of (n, K) integer counts; NaN where the true count never changes."""
    # Counts from the first image's: integers, whose sums are exact, so that "never changes" is told without tolerance.
    shifted = (truth - truth[:1]).astype(np.float64)
    errors = ((truth - found) ** 2).astype(np.float64)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn = weights.sum(axis=1, keepdims=True)
        spread = drawn * (weights @ shifted**2) - (weights @ shifted) ** 2
        residual = drawn * (weights @ errors)
        return np.where(spread > 0, 1 - residual / np.where(spread > 0, spread, 1), np.nan)

    return statistic
