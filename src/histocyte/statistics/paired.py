"""Two results on the same images: the interval of a difference, and its p-value.

Intervals are of a paired bootstrap: both results are looked at in the same resamples of patients or slides, so that
what makes an image hard for both does not widen the interval of their difference.

The p-value is that of a paired randomisation test (Noreen 1989, Computer-Intensive Methods for Testing Hypotheses).
Were the two results equally good, it would not matter which of them is called the first: for each patient or slide the
two are swapped by the toss of a coin, B times. With k the number of tosses in which the difference is at least as far
from 0 as the one observed, or undefined, p = (1 + k) / (1 + B), two-sided. Unlike a p-value from the bootstrap it
keeps its level with few patients: with g of them it cannot fall much below 2^(1 - g).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from histocyte.statistics.bootstrap import (
    Estimate,
    Score,
    bootstrap_weights,
    estimates_of,
    groups_behind,
    resampled_units,
)

__all__ = ["PairedDifference", "PairedResamples", "holm"]

_ROUNDING = 1e-12
_CHUNK = 500
"""Resamples under way at a time, which bounds the memory."""


class PairedDifference(NamedTuple):
    """A score of both results, the second's minus the first's, and the two-sided p-value of that difference."""

    first: Estimate
    second: Estimate
    difference: Estimate
    p: float


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values; NaN stays and is not counted."""
    values = np.asarray(p, np.float64)
    order = [int(i) for i in np.argsort(values, kind="stable") if not np.isnan(values[i])]
    corrected = np.full(len(values), np.nan)
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * values[i]))
        corrected[i] = least
    return [float(v) for v in corrected]


@dataclass(frozen=True, slots=True, eq=False)
class PairedResamples:
    """Draws of n pairs and tosses of which of a pair comes first, both by patient.

    Attributes:
        units: (n,) the patient of each pair.
        weights: (R, n) how often each pair is drawn.
        swaps: (R, n) 1 where the two of a pair change places.
    """

    units: NDArray[np.int64]
    weights: NDArray[np.float64]
    swaps: NDArray[np.float64]

    @classmethod
    def of(cls, groups: Sequence[str], *, replicates: int, seed: int) -> PairedResamples:
        """Draw and toss.

        Args:
            groups: The patient or slide of each pair; a pair with an empty name stands alone.
            replicates: R.
            seed: The same seed gives the same.
        """
        units = resampled_units(groups)
        # A stream of its own, so that draws and tosses do not depend on each other.
        tosses = np.random.default_rng([seed, 1]).integers(0, 2, (replicates, int(units.max()) + 1))
        return cls(
            units,
            bootstrap_weights(groups, replicates=replicates, seed=seed),
            tosses[:, units].astype(np.float64),
        )

    @property
    def n_units(self) -> int:
        """Patients or slides, or single images."""
        return int(self.units.max()) + 1

    def differences(self, score: Score) -> list[PairedDifference]:
        """Each of the K scores of 2 n rows, of which the first n are one result's and the last n the other's."""
        n = len(self.units)
        ones, zeros = np.ones((1, n)), np.zeros((1, n))
        first, second = self._values(score, ones, zeros)[0], self._values(score, zeros, ones)[0]
        drawn = self._values(score, self.weights, None), self._values(score, None, self.weights)
        swapped = self._values(score, self.swaps, 1 - self.swaps) - self._values(score, 1 - self.swaps, self.swaps)
        defined = score.defined.reshape(2 * n, -1)
        counts = [[int(c) for c in half.sum(axis=0)] for half in (defined[:n], defined[n:])]
        behind = [groups_behind(self.units, half) for half in (defined[:n], defined[n:])]
        swings = score.swings
        columns = [
            estimates_of(first, drawn[0], n=counts[0], groups=behind[0], swings=swings),
            estimates_of(second, drawn[1], n=counts[1], groups=behind[1], swings=swings),
            estimates_of(
                _snapped(second - first, first),
                _snapped(drawn[1] - drawn[0], drawn[0]),
                n=[min(pair) for pair in zip(*counts, strict=True)],
                groups=[min(pair) for pair in zip(*behind, strict=True)],
                swings=swings,
            ),
        ]
        return [
            PairedDifference(one, other, change, _p_value(change.value, swapped[:, i]))
            for i, (one, other, change) in enumerate(zip(*columns, strict=True))
        ]

    def _values(
        self, score: Score, front: NDArray[np.float64] | None, back: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """(R, K) the score with the first n rows weighted by `front` and the last n by `back`, 0 for None."""
        given = front if front is not None else back
        assert given is not None  # noqa: S101 (one of them is)
        parts = []
        for low, high in _chunks(len(given)):
            blank = np.zeros((high - low, given.shape[1]))
            weights = [blank if half is None else half[low:high] for half in (front, back)]
            values = score.statistic(np.hstack(weights))
            parts.append(values.reshape(high - low, -1))
        return np.concatenate(parts)


def _chunks(n: int) -> Iterator[tuple[int, int]]:
    return pairwise([*range(0, n, _CHUNK), n])


def _snapped(difference: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences that are rounding alone become 0."""
    rounding = np.abs(difference) <= _ROUNDING * np.maximum(1, np.abs(size))
    return np.where(rounding, 0.0, difference)


def _p_value(observed: float, swapped: NDArray[np.float64]) -> float:
    if np.isnan(observed):
        return float("nan")
    # Not below by rounding: the same difference may come in another order of summation.
    as_far = ~(np.abs(swapped) < abs(observed) * (1 - 1e-9) - _ROUNDING)
    return float((1 + as_far.sum()) / (1 + len(swapped)))
