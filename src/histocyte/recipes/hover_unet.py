"""The default model: HoVer-Net's maps from a light U-Net over a pre-trained ResNet-18."""

from __future__ import annotations

from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import normalised, pyramid_part
from histocyte.recipes.fitting import fitting_part

__all__ = ["hover_unet"]


def hover_unet(encoder: str = "resnet18", *, taxonomy: Taxonomy = CONSEP, mpp: float = 0.25) -> ModelSpec:
    """Hover maps (Graham et al. 2019) through a U-Net (Ronneberger et al. 2015), made to be quick on a CPU.

    The encoder stops at stride 16, where most of ResNet-18's weights have not yet come, and the decoder's last level,
    at the image's own resolution, is a narrow one: outlines need its pixels, not its width.

    Args:
        encoder: By its card's name, or a timm model with a pyramid from stride 2.
        taxonomy: The cell classes.
        mpp: Resolution that it works at, µm/px.
    """
    return ModelSpec(
        name="hover-unet",
        recipe="hover_unet",
        encoder=pyramid_part(encoder, [0, 1, 2, 3]),
        decoder=Part(name="unet", options={"widths": [128, 64, 48, 24], "depths": [2, 2, 1, 1]}),
        heads=Part(name="pointwise"),
        representation=fitting_part("hover", mpp, classes=len(taxonomy)),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        **normalised(encoder, None, None),
    )
