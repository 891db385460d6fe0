"""Objects on one image as a label map: what annotators draw and what decoding finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Instances", "Labels", "relabel_sequential"]


@dataclass(frozen=True, slots=True)
class Labels:
    """The truth on one image, from which a representation writes its maps.

    Attributes:
        instances: (H, W) int32, 0 background, 1..N one nucleus each.
        types: (N + 1,) class of each instance, indexed by instance id (entry 0 unused); classes count
            from 1, 0 says that the class is unknown. None where the data set has no classes at all.
        one_of: (N + 1, K) bool, the classes that each instance may be, where some may be several; it stands above
            `types` for a map to learn from. None where `types` says all.
    """

    instances: NDArray[np.int32]
    types: NDArray[np.uint8] | None = None
    one_of: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Instances:
    """What was found on one image.

    Attributes:
        labels: (H, W) int32, 0 background, 1..N contiguous.
        class_probabilities: (N, K) float32 in the order of the taxonomy, rows sum to 1; row i is
            instance i + 1. K = 0 where the model has no classes.
        scores: (N,) float32 in 0..1, how surely each is a nucleus at all.
    """

    labels: NDArray[np.int32]
    class_probabilities: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of instances."""
        return len(self.scores)


def relabel_sequential(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Renumber a label map to 1..N in the order of the old ids.

    Returns:
        The new map and `old`, (N + 1,): old[new_id] is the former id (old[0] = 0).
    """
    present = np.bincount(labels.ravel()) > 0
    present[0] = True
    old = np.flatnonzero(present)
    lookup = np.zeros(len(present), np.int32)
    lookup[old] = np.arange(len(old), dtype=np.int32)
    return lookup[labels], old
