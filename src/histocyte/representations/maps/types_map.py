"""The class of each pixel, as a map to learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.instances import Labels

__all__ = ["types_map"]


def types_map(labels: Labels, classes: int) -> NDArray[np.float32]:
    """(K + 1, H, W) class of each pixel, background first: one-hot, or 1 for each class that an instance may be.

    A pixel of an instance of unknown class, or of one beyond K, is zero in every channel, which a loss reads as "do
    not learn here".

    Args:
        labels: The truth.
        classes: K.
    """
    instances = labels.instances
    types = labels.types if labels.types is not None else np.zeros(int(instances.max(initial=0)) + 1, np.uint8)
    onehot = np.equal(types[instances], np.arange(classes + 1, dtype=np.uint8)[:, None, None])
    if labels.one_of is not None:
        onehot[1:] = labels.one_of.T[:, instances]
    onehot[0] = instances <= 0
    return onehot.astype(np.float32)
