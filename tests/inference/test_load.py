"""Models that are ready for use."""

from __future__ import annotations

from histocyte.inference.load import Model
from histocyte.recipes.hover_small import hover_small


def test_a_model_prints_as_what_it_finds(perfect_model: Model) -> None:
    said = "'perfect': other, inflammatory, epithelial, spindle at 0.25 µm/px"
    assert str(perfect_model) == f"<Model {said}; perfect on numpy>"


def test_a_spec_prints_as_what_it_is_made_of() -> None:
    said = "timm_pyramid → unet → pointwise → hover; other, inflammatory, epithelial, spindle; 0.25 µm/px>"
    assert str(hover_small()) == repr(hover_small()) == f"<ModelSpec 'hover-small': {said}"
