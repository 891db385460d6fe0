"""CISCA: where cells touch and how far across its cell a pixel lies, from a U-Net with residual heads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.encoders.catalog.card import EncoderCard
from histocyte.encoders.catalog.find import find_card
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.fitting import fitting_part

__all__ = ["cisca", "cisca_spec"]

_WIDTHS = (512, 256, 128, 64, 32)
"""Channels after each step up over a pre-trained encoder, to the strides 16, 8, 4, 2 and 1."""
_OWN_WIDTHS = (512, 256, 128, 64)
"""The same in CISCA's own U-Net, whose encoder starts at the image's size: to the strides 8, 4, 2 and 1."""
_TILE_PX = 512
"""Small, as its 256 channels at full resolution take 1 MB for each 32 × 32 px, several times over."""


def cisca(
    encoder: str | None = None, *, taxonomy: Taxonomy = CONSEP, mpp: float = 0.25, compatible: bool = False
) -> ModelSpec:
    """Vadori et al. 2024, CISCA (arXiv 2409.04175): its U-Net, trained from nothing, or its decoder over an encoder.

    The U-Net halves the image four times, from 64 channels on, with two convolutions at each size. On the way up the
    first of them does what is published as a convolution of its own, ahead of the join with the encoder's map.

    Args:
        encoder: In place of the U-Net's own, for the paper's variant over a pre-trained EfficientNet
            ("efficientnetv2-s") or any other: by its card's name, or any of timm's: a pyramid, or a vision transformer,
            whose taps are spread to one.
        taxonomy: The cell classes; empty leaves out their map.
        mpp: Resolution that it works at, µm/px; published are 0.25 (40×) and 0.5 (20×).
        compatible: Write contours by the full rule and read maps back as published: small cells are lost, and a cell
            depends on what else the field holds.
    """
    if encoder is not None:
        card = find_card(encoder)
        return cisca_spec("cisca", card, card.options, taxonomy=taxonomy, mpp=mpp, compatible=compatible)
    depth = len(_OWN_WIDTHS)
    return ModelSpec(
        name="cisca",
        recipe="cisca",
        encoder=Part(name="plain", options={"width": 64, "depth": depth}),
        decoder=_decoder(_OWN_WIDTHS),
        heads=_heads(),
        representation=_distance(mpp, len(taxonomy), compatible),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        tile_px=_TILE_PX,
        multiple=2**depth,
    )


def cisca_spec(
    recipe: str, card: EncoderCard, options: Mapping[str, Any], *, taxonomy: Taxonomy, mpp: float, compatible: bool
) -> ModelSpec:
    """CISCA's decoder, heads and maps behind an encoder.

    The decoder has the same widths at the same strides for every encoder, up to the image's own pixels.

    Args:
        recipe: Whose spec it is.
        card: The encoder's.
        options: Options of the encoder's part.
        taxonomy: The cell classes.
        mpp: Resolution that it works at, µm/px.
        compatible: Write contours and read maps back as published.
    """
    # A patch of 14 px is worked up as one of 16.
    coarsest = round(math.log2(max(card.facts.strides)))
    widths = _WIDTHS[-coarsest:]
    return ModelSpec(
        name=f"{recipe.replace('_', '-')}-{card.name.replace('/', '-')}",
        recipe=recipe,
        encoder=Part(name=card.part, options=options),
        decoder=_decoder(widths),
        heads=_heads(),
        representation=_distance(mpp, len(taxonomy), compatible),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        mean=card.mean,
        std=card.std,
        tile_px=_TILE_PX,
        multiple=max(16, 2**coarsest),
    )


def _decoder(widths: Sequence[int]) -> Part:
    return Part(name="unet", options={"widths": list(widths), "depths": [2] * len(widths)})


def _heads() -> Part:
    return Part(name="residual", options={"features": 256, "widths": {"distance": 4}})


def _distance(mpp: float, classes: int, compatible: bool) -> Part:
    """The distance maps of a resolution."""
    published = {"contour": "full", "compat": True} if compatible else {}
    return fitting_part("distance", mpp, classes=classes, **published)
