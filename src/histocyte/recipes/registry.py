"""The recipes by name."""

from __future__ import annotations

from histocyte.core.registry import Registry
from histocyte.model.spec import ModelSpec

__all__ = ["RECIPES", "way_to_adapt"]

RECIPES: Registry[ModelSpec] = Registry(
    "recipe",
    {
        "hover_unet": "histocyte.recipes.hover_unet:hover_unet",
        "hover_fpn": "histocyte.recipes.hover_fpn:hover_fpn",
        "hover_small": "histocyte.recipes.hover_small:hover_small",
        "cellvit": "histocyte.recipes.cellvit:cellvit",
        "cellvit_cppnet": "histocyte.recipes.cellvit_cppnet:cellvit_cppnet",
        "cellvit_stardist": "histocyte.recipes.cellvit_stardist:cellvit_stardist",
        "cisca": "histocyte.recipes.cisca:cisca",
        "frozen_encoder": "histocyte.recipes.frozen_encoder:frozen_encoder",
        "hovernet": "histocyte.recipes.hovernet:hovernet",
        "cellpose": "histocyte.recipes.cellpose:cellpose",
        "lightweight_teacher": "histocyte.recipes.lightweight_teacher:lightweight_teacher",
        "lightweight_student": "histocyte.recipes.lightweight_student:lightweight_student",
        "pathsegdiff": "histocyte.recipes.pathsegdiff:pathsegdiff",
        "stardist": "histocyte.recipes.stardist:stardist",
        "tissue_dpt": "histocyte.recipes.tissue:tissue_dpt",
        "tissue_fcn": "histocyte.recipes.tissue:tissue_fcn",
        "tissue_fcn8": "histocyte.recipes.tissue:tissue_fcn8",
        "tissue_unet": "histocyte.recipes.tissue:tissue_unet",
    },
    group="histocyte.recipes",
)
"""(taxonomy=…, mpp=…, **options) → `ModelSpec`; each function reads like its paper's method section and cites it.

Where a method trains less than the whole encoder, its spec's `training` says so as {"adapt": …} (`training.adapt`).
"""


def way_to_adapt(spec: ModelSpec) -> str:
    """How much of its encoder a recipe's method trains: "full" where it does not say (`training.adapt`)."""
    return str(spec.training.get("adapt", "full"))
