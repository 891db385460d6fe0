"""Representations by the name that a model file has for them; a package can add its own."""

from __future__ import annotations

from histocyte.core.registry import Registry
from histocyte.representations.protocol import Representation

__all__ = ["REPRESENTATIONS"]

REPRESENTATIONS: Registry[Representation] = Registry(
    "representation",
    {
        "distance": "histocyte.representations.distance.scheme:Distance",
        "flow": "histocyte.representations.flow.scheme:Flow",
        "hover": "histocyte.representations.hover.scheme:Hover",
        "semantic": "histocyte.representations.semantic.scheme:Semantic",
        "star": "histocyte.representations.star.scheme:Star",
    },
    group="histocyte.representations",
)
"""(**options) → `Representation`."""
