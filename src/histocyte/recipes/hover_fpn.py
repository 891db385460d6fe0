"""HoVer-Net's maps from a feature pyramid over EfficientNet-Lite, made to be quick on a CPU."""

from __future__ import annotations

from histocyte.core.taxonomy import CONSEP, Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.fitting import fitting_part

__all__ = ["hover_fpn"]


def hover_fpn(
    encoder: str = "tf_efficientnet_lite2",
    *,
    taxonomy: Taxonomy = CONSEP,
    mpp: float = 0.25,
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.5, 0.5, 0.5),
) -> ModelSpec:
    """Hover maps (Graham et al. 2019) through a feature pyramid (Lin et al. 2017) over EfficientNet-Lite2.

    EfficientNet-Lite (of Tan & Le 2019, arXiv 1905.11946) has neither gates nor smooth activations, so that it computes
    as well in 8 bits. The decoder works at half the image's resolution and its heads answer for four pixels each (Shi
    et al. 2016), which makes it quicker than `hover_unet` on a CPU.

    Args:
        encoder: A timm model with a pyramid from stride 2.
        taxonomy: The cell classes.
        mpp: Resolution, µm/px.
        mean: Of the encoder's training images, RGB from 0 to 1; TensorFlow's models have 0.5 for this and the next.
        std: Of the same.
    """
    return ModelSpec(
        name="hover-fpn",
        recipe="hover_fpn",
        encoder=Part(name="timm_pyramid", options={"name": encoder, "depths": [0, 1, 2, 3]}),
        decoder=Part(name="fpn", options={"widths": [128, 80, 48], "depths": [2, 2, 1]}),
        heads=Part(name="pixel_shuffle"),
        representation=fitting_part("hover", mpp, classes=len(taxonomy)),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        mean=mean,
        std=std,
        multiple=16,
    )
