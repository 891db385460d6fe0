"""The lightweight model's student: the teacher's maps from a network that runs on a laptop."""

from __future__ import annotations

from histocyte.core.taxonomies import REFINED
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import normalised, pyramid_part
from histocyte.recipes.fitting import fitting_part

__all__ = ["lightweight_student"]


def lightweight_student(
    encoder: str = "mobilevitv2-150",
    *,
    taxonomy: Taxonomy = REFINED,
    mpp: float = 0.25,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> ModelSpec:
    """Shvetsov et al. 2025 (arXiv 2502.19217): a U-Net over a vision transformer of 9 million weights, distilled.

    Of timm's, only MobileViTv2-1.5 (Mehta & Rastegari 2022, arXiv 2206.02680) has that size. The paper gives the whole
    24,093,393 weights without saying where; the U-Net here comes within two in a thousand of it for seven classes. Most
    of them work at the coarsest levels, where they cost least time.

    Args:
        encoder: By its card's name, or a timm model; with five levels from stride 2 to 32.
        taxonomy: The cell classes, the teacher's; of none, a nucleus map takes the place of theirs.
        mpp: Resolution that it works at, µm/px.
        mean: Mean of the encoder's training images, RGB from 0 to 1; the encoder's own where None (MobileViT's are not
            normalised).
        std: Standard deviation of the same; the encoder's own where None.
    """
    return ModelSpec(
        name="lightweight-student",
        recipe="lightweight_student",
        encoder=pyramid_part(encoder, [0, 1, 2, 3, 4]),
        decoder=Part(name="unet", options={"widths": [512, 256, 128, 64, 32], "depths": [3, 2, 1, 1, 1]}),
        heads=Part(name="pointwise"),
        representation=fitting_part(
            "flow",
            mpp,
            classes=len(taxonomy),
            foreground="types" if len(taxonomy) else "nucleus",
            flow_scale=1.0,
            losses="lightweight",
        ),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        multiple=64,  # MobileViTv2 joins the cells of its deepest level two by two
        **normalised(encoder, mean, std),
    )
