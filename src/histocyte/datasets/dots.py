"""Nuclei that are marked by dots, as labels to learn from: a small disc of nucleus around each, nothing else said."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["painted_dots"]

DISC_UM = 1.5
"""Radius of what surely belongs to the nucleus under a dot: the smallest, of lymphocytes and thin fibroblasts, are some
5 µm long and 3 µm wide."""

CLEAR_UM = 12.0
"""No nucleus reaches so far from its dot: beyond it, where every nucleus has a dot, there is none."""


def painted_dots(
    points: NDArray[np.floating], shape: tuple[int, int], *, mpp: float, every: bool
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Discs around dots, and where nothing is known.

    Args:
        points: (N, 2) x, y in px.
        shape: (H, W) of the image.
        mpp: Its resolution, µm/px.
        every: Every nucleus has a dot, so that what is far from all of them is background.

    Returns:
        (H, W) int32 with the disc of dot i as i + 1, a pixel near several dots being of the nearest; a dot outside the
        image or on the place of another has none. And (H, W) bool, True where there may be a nucleus or not.
    """
    seeds = np.zeros(shape, np.int32)
    columns, rows = np.floor(points).astype(np.int64).T if len(points) else np.zeros((2, 0), np.int64)
    inside = (rows >= 0) & (columns >= 0) & (rows < shape[0]) & (columns < shape[1])
    numbers = np.arange(1, len(points) + 1, dtype=np.int32)
    seeds[rows[inside], columns[inside]] = numbers[inside]
    if not seeds.any():
        return seeds, np.full(shape, not every)
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    near = distance * mpp <= DISC_UM
    instances = np.where(near, seeds[nearest[0], nearest[1]], 0).astype(np.int32)
    clear = distance * mpp >= CLEAR_UM if every else np.zeros(shape, bool)
    return instances, ~near & ~clear
