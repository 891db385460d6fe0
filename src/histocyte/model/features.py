"""What the vectors of cells that a model gives are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

__all__ = ["FeatureInfo"]


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """What the vectors are.

    Attributes:
        name: For people and for files that depend on it, e.g. "timm_vit last tap".
        width: D.
        border_px: How far the features reach beyond the image on each side, input px.
    """

    name: str
    width: Annotated[int, Field(ge=1)]
    border_px: Annotated[int, Field(ge=0)] = 0
