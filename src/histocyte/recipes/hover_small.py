"""A student for laptops and tablets: HoVer-Net's maps from the first layers of a MobileNet."""

from __future__ import annotations

from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import normalised, pyramid_part
from histocyte.recipes.fitting import fitting_part

__all__ = ["hover_small"]

_WIDTHS = (96, 64, 32, 16)
_DEPTHS = (2, 2, 1, 1)
"""Depths of the steps up from stride 16, 8, 4 and 2, or the last of them."""


def hover_small(
    encoder: str = "mobilenetv2_100",
    *,
    levels: int = 3,
    taxonomy: Taxonomy = CONSEP,
    mpp: float = 0.25,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> ModelSpec:
    """Hover maps (Graham et al. 2019) through a narrow U-Net over MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381).

    The encoder stops at stride 8, before nine tenths of its weights, and sees some 75 px around each pixel: a nucleus
    and its neighbours. It has a twentieth of `hover_unet`'s weights. Made to be taught (`histocyte distil`); from
    labels alone so small a network learns less.

    Args:
        encoder: By its card's name, or a timm model with a pyramid from stride 2.
        levels: How many of its levels to use, three or four.
        taxonomy: The cell classes.
        mpp: Resolution that it works at, µm/px.
        mean: Mean of the encoder's training images, RGB from 0 to 1; its own where None. TensorFlow's MobileNets
            have 0.5 for this and the next.
        std: Standard deviation of the same; the encoder's own where None.
    """
    return ModelSpec(
        name="hover-small",
        recipe="hover_small",
        encoder=pyramid_part(encoder, range(levels)),
        decoder=Part(name="unet", options={"widths": list(_WIDTHS[-levels:]), "depths": list(_DEPTHS[-levels:])}),
        heads=Part(name="pointwise"),
        representation=fitting_part("hover", mpp, classes=len(taxonomy)),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        **normalised(encoder, mean, std),
        multiple=2**levels,
    )
