"""Maps as they are before activation: where differences between sure predictions are still to be seen.

A probability of .9999 and one of .999 are nearly the same number in half precision, and far apart as logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from histocyte.core.maps import MapSpec

__all__ = ["activated", "to_logits"]

_TINY = 1e-7
"""Least probability told from 0, and from 1: what a network in single precision can tell."""


def to_logits(maps: NDArray[np.floating], specs: Sequence[MapSpec]) -> NDArray[np.float32]:
    """Activated maps (…, C, H, W) → logits of a sigmoid, logarithms of a softmax, and the rest as it is.

    Args:
        maps: All maps of `specs` in their order, along the third axis from the end.
        specs: What they are.
    """
    result = np.asarray(maps, np.float32).copy()
    for spec, channels in _channels(specs):
        part = result[..., channels, :, :]
        if spec.activation == "sigmoid":
            held = np.clip(part, _TINY, 1 - _TINY)
            part[:] = np.log(held) - np.log1p(-held)
        elif spec.activation == "softmax":
            part[:] = np.log(np.maximum(part, _TINY))
    return result


def activated(logits: NDArray[np.floating], specs: Sequence[MapSpec]) -> NDArray[np.float32]:
    """What `to_logits` was given, (…, C, H, W), as far as it can be told from 0 and 1."""
    result = np.asarray(logits, np.float32).copy()
    for spec, channels in _channels(specs):
        part = result[..., channels, :, :]
        if spec.activation == "sigmoid":
            part[:] = 1 / (1 + np.exp(-part))
        elif spec.activation == "softmax":
            part -= part.max(axis=-3, keepdims=True)
            np.exp(part, out=part)
            part /= part.sum(axis=-3, keepdims=True)
    return result


def _channels(specs: Sequence[MapSpec]) -> list[tuple[MapSpec, slice]]:
    found, start = [], 0
    for spec in specs:
        found.append((spec, slice(start, start + spec.channels)))
        start += spec.channels
    return found
