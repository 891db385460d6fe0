"""The default model: HoVer-Net's maps from a light U-Net over a pre-trained ResNet-18."""

from __future__ import annotations

from histocyte.core.taxonomy import CONSEP, Taxonomy
from histocyte.model.spec import ModelSpec, Part

__all__ = ["hover_unet"]


def hover_unet(encoder: str = "resnet18", *, taxonomy: Taxonomy = CONSEP, mpp: float = 0.25) -> ModelSpec:
    """Hover maps (Graham et al. 2019) through a U-Net (Ronneberger et al. 2015), made to be quick on a CPU.

    The encoder stops at stride 16, and the decoder at stride 2, where each pixel predicts its four by pixel shuffle:
    together a third of the cost of a full-resolution U-Net over all of ResNet-18.
    """
    return ModelSpec(
        name="hover-unet",
        recipe="hover_unet",
        encoder=Part(name="timm_pyramid", options={"name": encoder, "depths": [0, 1, 2, 3]}),
        decoder=Part(name="unet", options={"widths": [128, 64, 48], "depths": [2, 2, 1]}),
        heads=Part(name="pixel_shuffle"),
        representation=Part(name="hover", options={"classes": len(taxonomy)}),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
    )
