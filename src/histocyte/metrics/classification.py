"""Scores of one label per image or cell: top-1 accuracy and the area under the ROC curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from histocyte.core.errors import InputError
from histocyte.statistics.averages import nan_mean

__all__ = ["auroc_one_vs_rest", "macro_auroc", "top1_accuracy"]


def top1_accuracy(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Share of N rows whose most probable of K classes is the true one; NaN without rows.

    Args:
        probabilities: (N, K) scores, larger is more probable.
        truth: (N,) true class, 0..K - 1.

    Raises:
        InputError: The numbers of rows differ.
    """
    _check(probabilities, truth)
    return float(np.mean(probabilities.argmax(axis=1) == truth)) if len(truth) else float("nan")


def auroc_one_vs_rest(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """(K,) area under each class's ROC curve against all others; NaN for a class that no row or every row has.

    Ties count half (Mann–Whitney).

    Args:
        probabilities: (N, K) scores, larger is more probable.
        truth: (N,) true class, 0..K - 1.

    Raises:
        InputError: The numbers of rows differ.
    """
    _check(probabilities, truth)
    areas = np.full(probabilities.shape[1], np.nan)
    for c in range(probabilities.shape[1]):
        positive = truth == c
        n, rest = int(positive.sum()), int((~positive).sum())
        if n and rest:
            areas[c] = (rankdata(probabilities[:, c])[positive].sum() - n * (n + 1) / 2) / (n * rest)
    return areas


def macro_auroc(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Mean of `auroc_one_vs_rest` over the classes where it is defined.

    Raises:
        InputError: The numbers of rows differ.
    """
    return float(nan_mean(auroc_one_vs_rest(probabilities, truth)))


def _check(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> None:
    if len(probabilities) != len(truth):
        raise InputError(f"{len(probabilities)} rows of probabilities for {len(truth)} true classes.")
