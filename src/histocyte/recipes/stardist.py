"""StarDist: star polygons from a convolutional U-Net."""

from __future__ import annotations

from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import normalised, pyramid_part
from histocyte.recipes.fitting import fitting_part

__all__ = ["stardist"]


def stardist(
    encoder: str = "resnet50", *, refined: bool = False, taxonomy: Taxonomy = CONSEP, mpp: float = 0.25
) -> ModelSpec:
    """Schmidt et al. 2018, StarDist (doi 10.1007/978-3-030-00934-2_30) over any timm pyramid.

    A U-Net over ResNet-50, as baselines on PanNuke have it; its widths are ours, those of the baselines' are not known.

    Args:
        encoder: By its card's name, or a timm model with a pyramid from stride 2; "resnet18" makes it light.
        refined: Measure rays again from points along them, which makes it CPP-Net (Chen et al. 2023, doi
            10.1109/TIP.2023.3237013).
        taxonomy: The cell classes.
        mpp: Resolution that it works at, µm/px.
    """
    return ModelSpec(
        name="cppnet" if refined else "stardist",
        recipe="stardist",
        encoder=pyramid_part(encoder, [0, 1, 2, 3, 4]),
        decoder=Part(name="unet", options={"widths": [256, 128, 96, 64, 48], "depths": [2, 2, 2, 2, 1]}),
        heads=Part(name="cpp_refine" if refined else "pointwise"),
        representation=fitting_part("star", mpp, classes=len(taxonomy), refined=refined),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        multiple=32,
        **normalised(encoder, None, None),
    )
