"""A network's raw channels, map by map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from histocyte.core.maps import MapSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["raw_maps"]


def raw_maps(raw: Tensor, specs: Sequence[MapSpec]) -> dict[str, Tensor]:
    """Cut (B, C, H, W) raw channels of all maps, in the order of `specs`, into views by name.

    Raises:
        RuntimeError: The number of channels is not the sum of the specs'.
    """
    parts = raw.split([spec.channels for spec in specs], dim=1)
    return {spec.name: part for spec, part in zip(specs, parts, strict=True)}
