"""Dense channels that a network predicts: the hinge between learning and measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Activation", "MapSpec", "Maps", "split_maps"]

Activation = Literal["linear", "sigmoid", "softmax"]

Maps = Mapping[str, NDArray[np.float32]]
"""Map name → (C, H, W), after activation (probabilities, distances)."""


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One map of a representation.

    A network gives `channels` raw channels for it; `activation` turns them into what `decode` reads.
    """

    name: str
    channels: int
    activation: Activation = "linear"


def split_maps(stacked: NDArray[np.float32], specs: Sequence[MapSpec]) -> dict[str, NDArray[np.float32]]:
    """Cut a (C, H, W) stack of all maps, in the order of `specs`, into views by name.

    Raises:
        ValueError: The number of channels is not the sum of the specs'.
    """
    total = sum(spec.channels for spec in specs)
    if stacked.shape[0] != total:
        raise ValueError(f"{stacked.shape[0]} channels for maps of {total}: {[s.name for s in specs]}")
    maps, start = {}, 0
    for spec in specs:
        maps[spec.name] = stacked[start : start + spec.channels]
        start += spec.channels
    return maps
