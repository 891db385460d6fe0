"""The greedy choice of `star_decode` in numpy, mask by mask: slow, short, and what the compiled one must agree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.labels import clean_instances_plain
from histocyte.representations.star.targets import ray_angles

__all__ = ["separate_stars_plain", "star_mask"]


def star_mask(row: int, column: int, lengths: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W) the pixels whose centres lie in the polygon of the ends of rays from one pixel's centre."""
    angles, lengths = ray_angles(), lengths.astype(np.float64)
    y, x = lengths * np.sin(angles), lengths * np.cos(angles)
    rows, columns = (grid - at for grid, at in zip(np.indices(shape), (row, column), strict=True))
    inside = np.zeros(shape, bool)
    for y0, x0, y1, x1 in zip(y, x, np.roll(y, -1), np.roll(x, -1), strict=True):
        if y0 != y1:
            beside = (rows >= min(y0, y1)) & (rows < max(y0, y1))
            inside ^= beside & (columns >= x0 + (rows - y0) * ((x1 - x0) / (y1 - y0)))
    return inside


def separate_stars_plain(
    nucleus: NDArray[np.floating],
    rays: NDArray[np.floating],
    *,
    nucleus_threshold: float,
    max_overlap: float,
    min_area_px: int,
    border_px: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The same as `star_decode.separate_stars`, where arguments and results are explained."""
    height, width = nucleus.shape
    proposing = [
        (-float(nucleus[row, column]), int(row), int(column))
        for row, column in np.argwhere((nucleus > nucleus_threshold) & np.isfinite(rays).all(axis=0))
        if border_px <= row < height - border_px and border_px <= column < width - border_px
    ]
    kept: list[NDArray[np.bool_]] = []
    scores = [0.0]
    owner = np.zeros(nucleus.shape, np.int32)
    for score, row, column in sorted(proposing):
        mask = star_mask(row, column, rays[:, row, column].clip(0), nucleus.shape)
        taken = any((mask & other).sum() > max_overlap * min(mask.sum(), other.sum()) for other in kept)
        if mask.any() and not taken and (mask & (owner == 0)).sum() >= min_area_px:
            kept.append(mask)
            scores.append(-score)
            owner[mask & (owner == 0)] = len(kept)
    labels = clean_instances_plain(owner)
    former = [owner.ravel()[np.flatnonzero(labels == label)[0]] for label in range(1, labels.max(initial=0) + 1)]
    return labels, np.array(scores, np.float32)[former]
