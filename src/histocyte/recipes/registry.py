"""The recipes by name."""

from __future__ import annotations

from histocyte.core.registry import Registry
from histocyte.model.spec import ModelSpec

__all__ = ["RECIPES"]

RECIPES: Registry[ModelSpec] = Registry(
    "recipe",
    {
        "hover_unet": "histocyte.recipes.hover_unet:hover_unet",
        "cellvit": "histocyte.recipes.cellvit:cellvit",
        "hovernet": "histocyte.recipes.hovernet:hovernet",
    },
    group="histocyte.recipes",
)
"""(taxonomy=…, mpp=…, **options) → `ModelSpec`; each function reads like its paper's method section and cites it."""
