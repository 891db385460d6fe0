"""Border U-Net: the parts of this package put together."""

from __future__ import annotations

from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part

__all__ = ["border_unet"]


def border_unet(*, taxonomy: Taxonomy | None = None, mpp: float = 0.25) -> ModelSpec:
    """Inside and border of nuclei from a plain network; an example, not a good model."""
    return ModelSpec(
        name="border-unet",
        recipe="border_unet",
        encoder=Part(name="plain_cnn"),
        decoder=Part(name="sum_up"),
        heads=Part(name="pointwise"),
        representation=Part(name="border"),
        taxonomy=Taxonomy("none", ()).to_json(),
        mpp=mpp,
        tile_px=256,
        multiple=8,
    )
