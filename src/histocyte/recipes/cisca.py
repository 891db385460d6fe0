"""CISCA: where cells touch and how far across its cell a pixel lies, from a U-Net with residual heads."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from histocyte.core.taxonomy import CONSEP, Taxonomy
from histocyte.encoders.card import EncoderCard
from histocyte.encoders.catalog import find_card
from histocyte.model.spec import ModelSpec, Part
from histocyte.representations.distance import Distance

__all__ = ["cisca", "cisca_spec"]

_WIDTHS = (512, 256, 128, 64, 32)
"""Channels after each step up, to the strides 16, 8, 4, 2 and 1."""


def cisca(
    encoder: str = "efficientnetv2-s", *, taxonomy: Taxonomy = CONSEP, mpp: float = 0.25, compatible: bool = False
) -> ModelSpec:
    """Vadori et al. 2024, CISCA (arXiv 2409.04175), in its variant over a pre-trained EfficientNet.

    Args:
        encoder: By its card's name, or any of timm's: a pyramid, or a vision transformer, whose taps are spread to one.
        taxonomy: The cell classes; empty leaves out their map.
        mpp: Resolution, µm/px; published are 0.25 (40×) and 0.5 (20×).
        compatible: Read maps back as published: small cells are lost, and a cell depends on what else the field holds.
    """
    card = find_card(encoder)
    return cisca_spec("cisca", card, card.options, taxonomy=taxonomy, mpp=mpp, compatible=compatible)


def cisca_spec(
    recipe: str, card: EncoderCard, options: Mapping[str, Any], *, taxonomy: Taxonomy, mpp: float, compatible: bool
) -> ModelSpec:
    """CISCA's decoder, heads and maps behind an encoder.

    The decoder has the same widths at the same strides for every encoder, up to the image's own pixels.

    Args:
        recipe: Whose spec it is.
        card: The encoder's.
        options: Of the encoder's part.
        taxonomy: The cell classes.
        mpp: Resolution, µm/px.
        compatible: Read maps back as published.
    """
    # A patch of 14 px is worked up as one of 16.
    coarsest = round(math.log2(max(card.facts.strides)))
    widths = _WIDTHS[-coarsest:]
    return ModelSpec(
        name=f"{recipe.replace('_', '-')}-{card.name.replace('/', '-')}",
        recipe=recipe,
        encoder=Part(name=card.part, options=options),
        decoder=Part(name="unet", options={"widths": list(widths), "depths": [2] * len(widths)}),
        heads=Part(name="residual", options={"features": 256, "widths": {"distance": 4}}),
        representation=_distance(mpp, len(taxonomy), compatible),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        mean=card.mean,
        std=card.std,
        tile_px=512,  # 256 channels at full resolution: 1 MB for each 32 × 32 px, several times over
        multiple=max(16, 2**coarsest),
    )


def _distance(mpp: float, classes: int, compatible: bool) -> Part:
    """The distance maps of a resolution; options that are the default are left out."""
    fitting = dataclasses.asdict(Distance.at(mpp, classes=classes, compat=compatible))
    usual = dataclasses.asdict(Distance())
    return Part(name="distance", options={k: v for k, v in fitting.items() if k == "classes" or v != usual[k]})
