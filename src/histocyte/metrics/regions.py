"""Tissue regions pixel by pixel: accuracy, IoU and Dice from one confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.statistics.averages import nan_mean

__all__ = ["RegionCounts", "region_counts"]


@dataclass(frozen=True, slots=True, eq=False)
class RegionCounts:
    """Pixels by true class (rows) and found class (columns); counts of several images add up with `+`.

    Attributes:
        confusion: (K, K) int64 pixels; ignored pixels are in none.
    """

    confusion: NDArray[np.int64]

    def __add__(self, other: RegionCounts) -> RegionCounts:
        return RegionCounts(self.confusion + other.confusion)

    @property
    def accuracy(self) -> float:
        """Share of pixels with the right class; NaN without pixels."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,) intersection over union; NaN for a class that is nowhere."""
        return _ratio(np.diag(self.confusion), self._truth + self._found - np.diag(self.confusion))

    @property
    def dice(self) -> NDArray[np.float64]:
        """(K,) Dice; NaN for a class that is nowhere."""
        return _ratio(2 * np.diag(self.confusion), self._truth + self._found)

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes present in the truth."""
        return float(nan_mean(np.where(self._truth > 0, self.iou, np.nan)))

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the classes present in the truth."""
        return float(nan_mean(np.where(self._truth > 0, self.dice, np.nan)))

    @property
    def _truth(self) -> NDArray[np.int64]:
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def _found(self) -> NDArray[np.int64]:
        return np.asarray(self.confusion.sum(axis=0))


def region_counts(
    truth: NDArray[np.integer], found: NDArray[np.integer], *, n_classes: int, ignore: int | None = None
) -> RegionCounts:
    """Confusion matrix of two (H, W) class maps with classes 0..`n_classes` - 1.

    Args:
        truth: True class of each pixel.
        found: Found class of each pixel.
        n_classes: Number of classes.
        ignore: Pixels with this value in the truth do not count.

    Raises:
        InputError: The maps differ in shape or hold a class that does not exist.
    """
    if truth.shape != found.shape:
        raise InputError(f"The class maps to compare differ in shape: truth {truth.shape}, found {found.shape}.")
    kept = truth != ignore if ignore is not None else np.ones(truth.shape, np.bool_)
    y, guess = truth[kept].astype(np.int64), found[kept].astype(np.int64)
    for values, what in ((y, "truth"), (guess, "result")):
        if len(values) and (values.min() < 0 or values.max() >= n_classes):
            raise InputError(
                f"The {what} holds classes {values.min()} to {values.max()}, but there are {n_classes} (0 to "
                f"{n_classes - 1}); name the label to leave out with ignore=..."
            )
    table = np.bincount(y * n_classes + guess, minlength=n_classes**2)
    return RegionCounts(table.reshape(n_classes, n_classes).astype(np.int64))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
