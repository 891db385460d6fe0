"""Agreement of cell counts per image (cellular composition; CoNIC, Graham et al. 2021)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histocyte.core.errors import InputError
from histocyte.metrics.overlap import types_by_row

__all__ = ["class_counts", "r_squared"]


def class_counts(
    labels: NDArray[np.integer],
    types: NDArray[np.integer],
    *,
    n_classes: int,
    centre_px: int | None = None,
) -> NDArray[np.int64]:
    """(K,) number of instances of each class 1..K.

    Args:
        labels: (H, W) label map.
        types: Class of each instance by its id, entry 0 unused.
        n_classes: K.
        centre_px: Count only what has a pixel in the central square of this side (CoNIC: 224 of 256).

    Raises:
        InputError: An id has no class, or the square is larger than the image.
    """
    if centre_px is not None:
        if centre_px > min(labels.shape):
            raise InputError(f"A central square of {centre_px} px does not fit into an image of {labels.shape}.")
        top, left = (labels.shape[0] - centre_px) // 2, (labels.shape[1] - centre_px) // 2
        labels = labels[top : top + centre_px, left : left + centre_px]
    ids = np.unique(labels)
    classes = types_by_row(types, ids[ids > 0].astype(np.int64), what="count")
    return np.bincount(classes, minlength=n_classes + 1)[1 : n_classes + 1].astype(np.int64)


def r_squared(
    truth: ArrayLike, found: ArrayLike, *, constant: Literal["sklearn", "undefined"] = "sklearn"
) -> NDArray[np.float64]:
    """Coefficient of determination over images, 1 - Σ(y - ŷ)² / Σ(y - ȳ)², of each column.

    Args:
        truth: (images,) or (images, K) true counts.
        found: Counts found, of the same shape.
        constant: What a true count that never changes gives: 1 if met exactly and else 0, as scikit-learn; or NaN.

    Returns:
        () or (K,); NaN for fewer than two images. It may be far below 0.

    Raises:
        InputError: The shapes differ.
    """
    y, guess = np.asarray(truth, np.float64), np.asarray(found, np.float64)
    if y.shape != guess.shape:
        raise InputError(f"Counts to compare differ in shape: truth {y.shape}, found {guess.shape}.")
    if len(y) < 2:
        return np.full(y.shape[1:], np.nan)
    residual = ((y - guess) ** 2).sum(axis=0)
    spread = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    steady = np.all(y == y[:1], axis=0)
    flat = np.where(residual == 0, 1.0, 0.0) if constant == "sklearn" else np.full(spread.shape, np.nan)
    return np.where(steady, flat, 1 - residual / np.where(steady, 1.0, spread))
