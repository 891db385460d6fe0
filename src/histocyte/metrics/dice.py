"""Dice scores of the foreground and of overlapping instances (Vu et al. 2019; Graham et al. 2019, HoVer-Net)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.metrics.overlap import Overlap, overlap_of

__all__ = ["dice", "dice_ensemble", "dice_ensemble_of", "dice_of"]


def dice(truth: NDArray[np.integer], found: NDArray[np.integer]) -> float:
    """Dice of the two foregrounds ("Dice 1") of (H, W) label maps; NaN if both are empty.

    Raises:
        InputError: The maps differ in shape or are not label maps.
    """
    return dice_of(overlap_of(truth, found))


def dice_ensemble(truth: NDArray[np.integer], found: NDArray[np.integer]) -> float:
    """Ensemble Dice ("Dice 2"): twice the shared pixels over the areas, summed over all pairs that overlap.

    A neighbour touched by one pixel counts with its whole area, so crowded images score low even when nearly right.
    NaN if both maps are empty, 0 if nothing overlaps. Equals HoVer-Net's fast form on contiguous ids.

    Raises:
        InputError: The maps differ in shape or are not label maps.
    """
    return dice_ensemble_of(overlap_of(truth, found))


def dice_of(overlap: Overlap) -> float:
    """`dice` from an overlap that is there already."""
    total = int(overlap.truth_area.sum() + overlap.found_area.sum())
    return 2 * float(overlap.shared.sum()) / total if total else float("nan")


def dice_ensemble_of(overlap: Overlap) -> float:
    """`dice_ensemble` from an overlap that is there already."""
    if overlap.shape == (0, 0):
        return float("nan")
    total = int((overlap.shared + overlap.union).sum())
    return 2 * float(overlap.shared.sum()) / total if total else 0.0
