"""Scores of probes that stay exact when images are drawn again: each is a function of how often an image was drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from histocyte.statistics.bootstrap import Statistic

__all__ = [
    "images_with_class",
    "ranked_pairs",
    "weighted_auroc",
    "weighted_balanced_accuracy",
    "weighted_place_r_squared",
]


def ranked_pairs(
    scores: NDArray[np.floating], positive: NDArray[np.bool_], image: NDArray[np.int64], images: int
) -> NDArray[np.float64]:
    """(I, I) pairs of a positive of image i and a negative of image j in which the positive scores higher.

    A tie counts half. Summed over all images and divided by the number of pairs it is the area under the ROC curve
    (Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747).

    Args:
        scores: (N,) the higher the more positive.
        positive: (N,) the truth.
        image: (N,) number of each one's image.
        images: I.
    """
    pairs = np.zeros((images, images))
    ours, where = scores[positive], image[positive]
    for j in range(images):
        theirs = np.sort(scores[~positive & (image == j)])
        if len(theirs):
            below = np.searchsorted(theirs, ours, side="left") + np.searchsorted(theirs, ours, side="right")
            pairs[:, j] = np.bincount(where, below / 2, images)
    return pairs


def images_with_class(
    types: NDArray[np.integer], image: NDArray[np.integer], images: int, classes: Iterable[int]
) -> NDArray[np.bool_]:
    """(images, K + 1) which images hold a cell of each class; for the mean over classes, all of them.

    Args:
        types: (N,) class of each cell.
        image: (N,) its image.
        images: How many there are.
        classes: K.
    """
    columns = [np.bincount(image[types == c], minlength=images) > 0 for c in classes]
    return np.stack([*columns, np.ones(images, np.bool_)], axis=1)


def weighted_auroc(
    probabilities: NDArray[np.floating], types: NDArray[np.integer], image: NDArray[np.int64], images: int
) -> Statistic:
    """AUROC of each class against the rest, and last their mean; NaN where a resample lacks a class or its rest.

    Args:
        probabilities: (N, K) of the classes.
        types: (N,) true class from 0.
        image: (N,) number of each one's image.
        images: I.
    """
    k = probabilities.shape[1]
    pairs = np.stack([ranked_pairs(probabilities[:, c], types == c, image, images) for c in range(k)])
    positives = _counts(types, image, images, k)
    negatives = positives.sum(axis=1, keepdims=True) - positives

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        ranked = np.einsum("ri,kij,rj->rk", weights, pairs, weights, optimize=True)
        total = (weights @ positives) * (weights @ negatives)
        values = np.where(total > 0, ranked / np.where(total > 0, total, 1), np.nan)
        return np.concatenate([values, values.mean(axis=1, keepdims=True)], axis=1)

    return statistic


def weighted_balanced_accuracy(
    found: NDArray[np.integer], types: NDArray[np.integer], image: NDArray[np.int64], images: int, k: int
) -> Statistic:
    """Mean over the K classes of the share of their nuclei that are told right; NaN where a resample lacks a class."""
    right = _counts(types[found == types], image[found == types], images, k)
    total = _counts(types, image, images, k)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        of = weights @ total
        return np.asarray(np.where(of > 0, weights @ right / np.where(of > 0, of, 1), np.nan).mean(axis=1))

    return statistic


def weighted_place_r_squared(
    truth: NDArray[np.floating], found: Sequence[NDArray[np.floating]], image: NDArray[np.int64], images: int
) -> Statistic:
    """R² of several predictions of one number a nucleus: 1 − squared errors / squared distances from the mean.

    Below 0 where the mean of the scored nuclei would be the better guess.

    Args:
        truth: (N,) the number.
        found: Predictions (N,).
        image: (N,) number of each one's image.
        images: I.
    """
    centred = truth - truth.mean()
    count = np.bincount(image, minlength=images).astype(np.float64)
    sums, squares = np.bincount(image, centred, images), np.bincount(image, centred**2, images)
    errors = np.stack([np.bincount(image, (truth - f) ** 2, images) for f in found], axis=1)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        n = weights @ count
        spread = weights @ squares - (weights @ sums) ** 2 / np.where(n > 0, n, 1)
        some = (n > 0) & (spread > 1e-12 * np.maximum(n, 1))
        return np.where(some[:, None], 1 - weights @ errors / np.where(some, spread, 1)[:, None], np.nan)

    return statistic


def _counts(types: NDArray[np.integer], image: NDArray[np.int64], images: int, k: int) -> NDArray[np.float64]:
    """(I, K) nuclei of each class in each image."""
    return np.bincount(image * k + types, minlength=images * k).reshape(images, k).astype(np.float64)
