"""Constants that fit a resolution."""

from __future__ import annotations

import pytest

from histocyte.core.errors import ResolutionError
from histocyte.recipes.fitting import fitting_part, refitted
from histocyte.recipes.hover_unet import hover_unet
from histocyte.recipes.registry import RECIPES
from histocyte.representations.flow.scheme import Flow
from histocyte.representations.star.scheme import Star


def test_only_what_is_asked_or_other_than_usual_is_written_down() -> None:
    assert fitting_part("hover", 0.25, classes=4).options == {"classes": 4}
    assert fitting_part("star", 0.5, classes=2, compat=False).options == {
        **{"classes": 2, "compat": False},
        "min_area_px": Star.at(0.5).min_area_px,
    }
    assert fitting_part("flow", 0.5).options["steps"] == Flow.at(0.5).steps
    with pytest.raises(ResolutionError):
        fitting_part("hover", 0.0)


@pytest.mark.parametrize(
    "recipe", ["cellpose", "cellvit", "cisca", "hover_small", "hover_unet", "hovernet", "stardist"]
)
def test_recipes_decode_at_their_resolution(recipe: str) -> None:
    fine, coarse = (RECIPES[recipe](mpp=mpp).representation for mpp in (0.25, 0.5))
    assert fine != coarse


def test_constants_of_a_trained_model_are_scaled_and_all_else_stays() -> None:
    spec = hover_unet()
    own = {**spec.representation.options, "smoothing_px": 1.3, "min_area_px": 50, "seam_drop": 0.01}
    spec = spec.with_changes(representation={"name": "hover", "options": own})
    coarse = refitted(spec, 0.5)
    assert coarse.mpp == 0.5
    assert coarse.representation.options == {
        **{"classes": 4, "seam_drop": 0.01, "sobel_px": 11},
        **{"smoothing_px": pytest.approx(0.65), "min_area_px": 15},
    }
    assert refitted(hover_unet(), 0.5) == hover_unet(mpp=0.5)
    assert refitted(spec, 0.25) == spec


def test_numbers_that_are_read_as_published_stay_as_published() -> None:
    spec = fitting_part("flow", 0.25, classes=2, compat=True)
    model = hover_unet().with_changes(representation=spec)
    coarse = refitted(model, 0.5).representation.options
    expected = Flow.at(0.5, classes=2, compat=True)
    assert {k: coarse.get(k, getattr(expected, k)) for k in ("seed_points", "min_area_px", "steps", "max_area_px")} == {
        k: getattr(expected, k) for k in ("seed_points", "min_area_px", "steps", "max_area_px")
    }
