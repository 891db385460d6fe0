"""Cellpose: flow maps through a U-Net, over any pre-trained pyramid instead of one trained from nothing."""

from __future__ import annotations

from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import normalised, pyramid_part
from histocyte.recipes.fitting import fitting_part

__all__ = ["cellpose"]

_WIDTHS = (192, 128, 64, 48, 24)
"""Widths of the steps up from stride 32, 16, 8, 4 and 2; the last, at the image's resolution, only follows outlines."""


def cellpose(
    encoder: str = "resnet18",
    *,
    levels: int = 4,
    taxonomy: Taxonomy = CONSEP,
    mpp: float = 0.25,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> ModelSpec:
    """Stringer et al. 2021, Cellpose (doi 10.1038/s41592-020-01018-x): cell probability and five times the flow.

    Its U-Net is residual, four levels deep and passes a vector of the image's style to every step up. Here the encoder
    is a pre-trained one, which sees stain and scanner by itself, and a third map tells the cells' classes.

    Args:
        encoder: By its card's name, or a timm model with a pyramid from stride 2.
        levels: How many of its levels to use, two to five; five reach stride 32.
        taxonomy: The cell classes; empty makes it Cellpose's two maps.
        mpp: Resolution that it works at, µm/px.
        mean: Mean of the encoder's training images, RGB from 0 to 1; the encoder's own where None.
        std: Standard deviation of the same; the encoder's own where None.
    """
    return ModelSpec(
        name="cellpose",
        recipe="cellpose",
        encoder=pyramid_part(encoder, range(levels)),
        decoder=Part(name="unet", options={"widths": list(_WIDTHS[-levels:]), "depths": [2, 2, 2, 1, 1][-levels:]}),
        heads=Part(name="pointwise"),
        representation=fitting_part("flow", mpp, classes=len(taxonomy)),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        **normalised(encoder, mean, std),
        multiple=2**levels,
    )
