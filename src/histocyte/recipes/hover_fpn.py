"""HoVer-Net's maps from a feature pyramid over EfficientNet-Lite, made to be quick on a CPU."""

from __future__ import annotations

from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import normalised, pyramid_part
from histocyte.recipes.fitting import fitting_part

__all__ = ["hover_fpn"]

_LITE = "tf_efficientnet_lite2"
_LITES_OWN = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Mean and deviation that it wants images by; other encoders are asked."""


def hover_fpn(
    encoder: str = _LITE,
    *,
    taxonomy: Taxonomy = CONSEP,
    mpp: float = 0.25,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> ModelSpec:
    """Hover maps (Graham et al. 2019) through a feature pyramid (Lin et al. 2017) over EfficientNet-Lite2.

    EfficientNet-Lite (of Tan & Le 2019, arXiv 1905.11946) has neither gates nor smooth activations, so that it computes
    as well in 8 bits. The decoder works at half the image's resolution and its heads answer for four pixels each (Shi
    et al. 2016), which makes it quicker than `hover_unet` on a CPU.

    Args:
        encoder: By its card's name, or a timm model with a pyramid from stride 2.
        taxonomy: The cell classes.
        mpp: Resolution that it works at, µm/px.
        mean: Mean of the encoder's training images, RGB from 0 to 1; the encoder's own where None.
        std: Standard deviation of the same; the encoder's own where None.
    """
    own = _LITES_OWN if encoder == _LITE else (None, None)
    return ModelSpec(
        name="hover-fpn",
        recipe="hover_fpn",
        encoder=pyramid_part(encoder, [0, 1, 2, 3]),
        decoder=Part(name="fpn", options={"widths": [128, 80, 48], "depths": [2, 2, 1]}),
        heads=Part(name="pixel_shuffle"),
        representation=fitting_part("hover", mpp, classes=len(taxonomy)),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        **normalised(encoder, mean or own[0], std or own[1]),
        multiple=16,
    )
