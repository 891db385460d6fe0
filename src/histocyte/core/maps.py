"""Dense channels that a network predicts: the hinge between learning and measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Activation", "MapSpec", "Maps", "decoded_maps", "split_maps"]

Activation = Literal["linear", "relu", "sigmoid", "softmax"]

Maps = Mapping[str, NDArray[np.floating]]
"""Map name → (C, H, W), after activation (probabilities, distances); float32, or float16 as the pipeline has them."""


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One map of a representation.

    A network gives `channels` raw channels for it; `activation` turns them into what `decode` reads. A map of
    `training_only` is there to be learnt from, such as a first guess that is refined: no runtime computes it further,
    and `decode` does not get it.
    """

    name: str
    channels: int
    activation: Activation = "linear"
    training_only: bool = False


def decoded_maps(specs: Sequence[MapSpec]) -> tuple[MapSpec, ...]:
    """The maps that a runtime gives and `decode` reads: all but those of training alone."""
    return tuple(spec for spec in specs if not spec.training_only)


def split_maps(stacked: NDArray[np.floating], specs: Sequence[MapSpec]) -> dict[str, NDArray[np.floating]]:
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
