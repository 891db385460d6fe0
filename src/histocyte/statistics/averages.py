"""Means that skip what is undefined (NaN)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["mean_over_groups", "nan_mean"]


def nan_mean(values: ArrayLike, *, axis: int | None = None) -> NDArray[np.float64]:
    """Mean of the defined values along `axis` (all by default); NaN where there is none, without a warning."""
    values = np.asarray(values, np.float64)
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    count = defined.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_over_groups(values: Sequence[float], groups: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Mean within each group, then over groups: PanNuke's average over its 19 tissues (Gamper et al. 2020).

    Args:
        values: One score an image, NaN where undefined.
        groups: The group (tissue) of each.

    Returns:
        The mean over the groups that have a defined value, and each group's own mean.
    """
    array, names = np.asarray(values, np.float64), np.asarray(groups)
    means = {str(name): float(nan_mean(array[names == name])) for name in np.unique(names)}
    return float(nan_mean(list(means.values()))), means
