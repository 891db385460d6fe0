"""Models that are ready for use."""

from __future__ import annotations

from dataclasses import replace

from histocyte.inference.load import Model, load
from histocyte.recipes.hover_small import hover_small


def test_a_model_prints_as_what_it_finds(perfect_model: Model) -> None:
    said = "'perfect': other, inflammatory, epithelial, spindle at 0.25 µm/px"
    assert str(perfect_model) == f"<Model {said}; perfect on numpy>"


def test_a_spec_prints_as_what_it_is_made_of() -> None:
    said = "timm_pyramid → unet → pointwise → hover; other, inflammatory, epithelial, spindle; 0.25 µm/px>"
    assert str(hover_small()) == repr(hover_small()) == f"<ModelSpec 'hover-small': {said}"


def test_a_model_shows_its_classes_and_scores_in_a_notebook() -> None:
    model = load("hover-small-consep", device="cpu", workers=1)
    page = model._repr_html_()
    (red, green, blue), name = model.taxonomy.classes[1].colour, model.taxonomy.names[1]
    assert f'<span style="color:#{red:02x}{green:02x}{blue:02x}">●</span> {name}' in page
    assert f"<td>{model.spec.metrics['consep']['scores']['bpq']['value']:.3f}</tr>" in page
    strange = replace(model, spec=model.spec.with_changes(metrics={"mine": {"scores": "none"}}, name="<i>"))
    assert "bPQ" not in strange._repr_html_()
    assert "<i>" not in strange._repr_html_()
