"""CellViT's parts by encoder."""

from __future__ import annotations

import pytest

from histocyte.recipes.cellvit import cellvit
from histocyte.recipes.cellvit_stardist import cellvit_stardist


@pytest.mark.parametrize(
    ("encoder", "way"),
    [
        ("vit256", "dino"),
        ("vit_small_patch16_224", "dino"),
        ("uni", "timm"),  # CellViT++, whose encoders are timm's
        ("virchow", "timm"),
        ("virchow2", "timm"),
        ("sam-h", "crop"),
    ],
)
def test_positions_are_resampled_as_in_the_published_code_of_each_encoder(encoder: str, way: str) -> None:
    assert cellvit(encoder, compatible=True).encoder.options["position_resampling"] == way
    assert cellvit_stardist(encoder, compatible=True).encoder.options["position_resampling"] == way
    assert "position_resampling" not in cellvit(encoder).encoder.options
