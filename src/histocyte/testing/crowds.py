"""Crowds of cells, and how alike two label maps are: what the tests of decoders share."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from histocyte.core.labels import clean_instances
from histocyte.metrics.panoptic import panoptic_counts

__all__ = ["crowded_ellipses", "panoptic_quality", "same_but_for_ids"]


@cache
def crowded_ellipses(size: int, seed: int) -> NDArray[np.int32]:
    """(size, size) crowded ellipses of 8–24 px, many of them touching; not to be changed, for the next gets it too."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for i in range(1, size * size // 250):
        x, y, a, b, t = *rng.uniform(0, size, 2), *rng.uniform(4, 12, 2), rng.uniform(0, np.pi)
        near = np.s_[max(0, int(y) - 12) : int(y) + 13, max(0, int(x) - 12) : int(x) + 13]
        dx, dy = columns[near] - x, rows[near] - y
        u, v = dx * np.cos(t) + dy * np.sin(t), dy * np.cos(t) - dx * np.sin(t)
        free = (labels[near] == 0) & ((u / a) ** 2 + (v / b) ** 2 <= 1)
        if free.sum() > 40:
            labels[near][free] = i
    return clean_instances(labels)


def panoptic_quality(truth: NDArray[np.int32], found: NDArray[np.int32]) -> float:
    """PQ of one label map against another."""
    return float(panoptic_counts(truth, found).quality().pq)


def same_but_for_ids(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    """Whether two label maps have the same instances, pixel by pixel, whatever their numbers; background is one too."""
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
