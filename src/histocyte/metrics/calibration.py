"""Calibration: whether of the nuclei called a class with probability 0.8, eight in ten are of that class.

Reliability bins and expected calibration error (Guo et al. 2017, On Calibration of Modern Neural Networks) look at the
probability of the most probable class; the Brier score (Brier 1950, Verification of Forecasts, Mon. Weather Rev. 78)
at all classes. What is kept is a table of fine bins that adds up over images, so any number of wider bins can be read
from it, of equal width or of about equal filling (Nguyen and O'Connor 2015, doi:10.18653/v1/D15-1182).

The binned error is never below 0 and rises by chance where bins hold few nuclei: compare it at equal numbers of nuclei.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError, UnknownNameError

__all__ = [
    "FINE_BINS",
    "BrierScale",
    "CalibrationCounts",
    "ErrorNorm",
    "ReliabilityBins",
    "Spacing",
    "calibration_counts",
    "calibration_error",
    "merge_bins",
]

FINE_BINS = 120
"""Bins kept: 10, 12, 15, 20, 24 or 30 wider ones of equal width are read from them exactly."""

DEFAULT_BINS = 15
"""As in Guo et al. 2017."""

Spacing = Literal["width", "mass"]
ErrorNorm = Literal["l1", "l2", "max"]
BrierScale = Literal["sum", "half", "mean"]

_ROUNDING = 1e-4
"""How far above 1 a mean of float32 probabilities over many pixels may come."""

_BRIER_DIVISOR = {"sum": lambda k: 1.0, "half": lambda k: 2.0, "mean": lambda k: float(k)}


class ReliabilityBins(NamedTuple):
    """Bins of confidence, each array (..., bins); confidence and accuracy are NaN in empty bins.

    Attributes:
        n: Nuclei in the bin.
        confidence: Their mean probability of the most probable class.
        accuracy: The share of them whose most probable class is the true one.
    """

    n: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationCounts:
    """What calibration scores are made of; counts of several images add up with `+`.

    Attributes:
        table: (FINE_BINS, 3) nuclei, summed confidence and right ones by confidence; bin i holds confidences above
            i / FINE_BINS up to (i + 1) / FINE_BINS.
        squared_error: (K,) of each class, the squared difference of its probability from 1 (nuclei of the class) or 0
            (all others), summed over nuclei.
    """

    table: NDArray[np.float64]
    squared_error: NDArray[np.float64]

    def __add__(self, other: CalibrationCounts) -> CalibrationCounts:
        return CalibrationCounts(self.table + other.table, self.squared_error + other.squared_error)

    @property
    def n(self) -> int:
        """Nuclei counted."""
        return int(self.table[:, 0].sum())

    def bins(self, n_bins: int = DEFAULT_BINS, *, spacing: Spacing = "width") -> ReliabilityBins:
        """The reliability curve, see `merge_bins`."""
        return merge_bins(self.table, n_bins, spacing=spacing)

    def error(self, n_bins: int = DEFAULT_BINS, *, spacing: Spacing = "width", norm: ErrorNorm = "l1") -> float:
        """Expected calibration error, see `calibration_error`; NaN without nuclei."""
        return float(calibration_error(self.bins(n_bins, spacing=spacing), norm=norm))

    def brier(self, scale: BrierScale = "sum") -> float:
        """Brier score, mean over nuclei; NaN without nuclei.

        Args:
            scale: "sum" over the classes as Brier defined it (0 to 2), "half" of it (0 to 1; with two classes the
                score of one of them), or the "mean" over the classes.

        Raises:
            UnknownNameError: No such scale.
        """
        if scale not in get_args(BrierScale):
            raise UnknownNameError("scale of the Brier score", scale, get_args(BrierScale))
        divisor = _BRIER_DIVISOR[scale](len(self.squared_error))
        return float(self.squared_error.sum() / divisor / self.n) if self.n else float("nan")


def calibration_counts(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> CalibrationCounts:
    """Count nuclei by the probability of their most probable class.

    Args:
        probabilities: (N, K) class probabilities, rows sum to 1.
        truth: (N,) true class, 0..K - 1.

    Raises:
        InputError: The numbers of rows differ, a probability is outside 0..1, or a class does not exist.
    """
    if len(probabilities) != len(truth):
        raise InputError(f"{len(probabilities)} rows of probabilities for {len(truth)} true classes.")
    p = np.asarray(probabilities, np.float64)
    if p.size and not (p.min() >= 0 and p.max() <= 1 + _ROUNDING):
        raise InputError(f"Class probabilities must lie in 0 to 1, not {p.min():g} to {p.max():g}.")
    if len(truth) and not (truth.min() >= 0 and truth.max() < p.shape[1]):
        raise InputError(f"True classes go from {truth.min()} to {truth.max()}, but there are {p.shape[1]} (from 0).")
    if not len(p):
        return CalibrationCounts(np.zeros((FINE_BINS, 3)), np.zeros(p.shape[1]))
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    fine = np.clip(np.ceil(confidence * FINE_BINS).astype(np.int64) - 1, 0, FINE_BINS - 1)
    columns = (None, confidence, right.astype(np.float64))
    table = np.stack([np.bincount(fine, c, minlength=FINE_BINS) for c in columns], axis=1).astype(np.float64)
    return CalibrationCounts(table, ((p - np.eye(p.shape[1])[truth]) ** 2).sum(axis=0))


def merge_bins(
    table: NDArray[np.float64], n_bins: int = DEFAULT_BINS, *, spacing: Spacing = "width"
) -> ReliabilityBins:
    """Reliability bins from fine ones.

    Args:
        table: (..., FINE_BINS, 3) as `CalibrationCounts.table`; leading axes (resamples) are kept apart.
        n_bins: How many.
        spacing: "width": of equal width from 0 to 1, `n_bins` dividing `FINE_BINS`. "mass": of about equal numbers of
            nuclei, as near as the fine bins allow: equal confidences stay together, so some bins may be empty.

    Raises:
        InputError: That many bins cannot be made.
        UnknownNameError: No such spacing.
    """
    if spacing not in get_args(Spacing):
        raise UnknownNameError("spacing of reliability bins", spacing, get_args(Spacing))
    if not 1 <= n_bins <= FINE_BINS or (spacing == "width" and FINE_BINS % n_bins):
        fitting = [str(n) for n in range(2, FINE_BINS) if FINE_BINS % n == 0]
        raise InputError(f"{n_bins} reliability bins cannot be made; of equal width there may be {', '.join(fitting)}.")
    if spacing == "width":
        merged = table.reshape(*table.shape[:-2], n_bins, FINE_BINS // n_bins, 3).sum(axis=-2)
    else:
        count = table[..., 0]
        middle = np.cumsum(count, axis=-1) - count / 2
        total = np.maximum(count.sum(axis=-1, keepdims=True), 1e-300)
        into = np.minimum((n_bins * middle / total).astype(np.int64), n_bins - 1)
        merged = np.stack([(table * (into == b)[..., None]).sum(axis=-2) for b in range(n_bins)], axis=-2)
    count = merged[..., 0]
    filled = np.where(count > 0, count, np.nan)
    return ReliabilityBins(count, merged[..., 1] / filled, merged[..., 2] / filled)


def calibration_error(bins: ReliabilityBins, *, norm: ErrorNorm = "l1") -> NDArray[np.float64]:
    """How far confidence is from accuracy, (...); NaN where there are no nuclei.

    Args:
        bins: The reliability bins, (..., bins).
        norm: "l1": mean over nuclei of their bin's |accuracy - confidence| (expected calibration error); "l2": root of
            the mean square; "max": of the worst bin (maximum calibration error).

    Raises:
        UnknownNameError: No such norm.
    """
    if norm not in get_args(ErrorNorm):
        raise UnknownNameError("norm of the calibration error", norm, get_args(ErrorNorm))
    gap = np.where(bins.n > 0, np.abs(bins.accuracy - bins.confidence), 0.0)
    total = bins.n.sum(axis=-1)
    weight = bins.n / np.where(total > 0, total, 1.0)[..., None]
    if norm == "max":
        error = gap.max(axis=-1)
    elif norm == "l2":
        error = np.sqrt((weight * gap**2).sum(axis=-1))
    else:
        error = (weight * gap).sum(axis=-1)
    return np.where(total > 0, error, np.nan)
