"""Tissue pixel by pixel: a light head over any encoder, and the networks that it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.tissues import GLANDS
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import card_of, normalised, pyramid_part

__all__ = ["tissue_dpt", "tissue_fcn", "tissue_fcn8", "tissue_unet"]


def tissue_fcn(
    encoder: str = "resnet18",
    *,
    widths: Sequence[int] = (256, 128, 64),
    levels: int = 4,
    taxonomy: Taxonomy = GLANDS,
    mpp: float = 1.0,
    min_area_um2: float = 500.0,
) -> ModelSpec:
    """A light fully convolutional head (Long et al. 2015, doi 10.1109/CVPR.2015.7298965) over any encoder.

    It is the head of PathSegDiff (arXiv 2504.06950) with an ordinary encoder in the diffusion model's place: levels are
    normalised, brought to the finest one's size and joined, then doubled and convolved.

    Args:
        encoder: By its card's name, or a timm model with a pyramid.
        widths: Channels after joining and after each further step.
        levels: Number of levels of a pyramid, from stride 4 on: three end at stride 16, four at stride 32.
        taxonomy: The classes of tissue; what is of none is the background.
        mpp: Resolution that it works at, µm/px.
        min_area_um2: Smaller regions are none.
    """
    decoder = Part(name="fcn", options={"widths": list(widths)})
    return _spec("tissue_fcn", encoder, decoder, levels, taxonomy, mpp, min_area_um2)


def tissue_unet(
    encoder: str = "resnet18",
    *,
    levels: int = 5,
    taxonomy: Taxonomy = GLANDS,
    mpp: float = 1.0,
    min_area_um2: float = 500.0,
) -> ModelSpec:
    """A U-Net (Ronneberger et al. 2015, doi 10.1007/978-3-319-24574-4_28) over a pyramid: ResNet18-UNet as it comes.

    Args:
        encoder: By its card's name, or a timm model with a pyramid from stride 2.
        levels: How many of its levels, from stride 2 on.
        taxonomy: The classes of tissue; what is of none is the background.
        mpp: Resolution that it works at, µm/px.
        min_area_um2: Smaller regions are none.

    Raises:
        InputError: A number of levels that there is no U-Net of.
    """
    if not 3 <= levels <= 5:
        raise InputError(f"tissue_unet climbs 3 to 5 levels of an encoder, not {levels}.")
    depths = _encoder(encoder, range(levels)).options.get("depths")
    steps = 4 if depths is None else len(depths) - 1  # a vision transformer's four taps are climbed to the image itself
    decoder = Part(name="unet", options={"widths": [256, 128, 64, 32][-steps:], "depths": [2] * steps})
    return _spec("tissue_unet", encoder, decoder, levels, taxonomy, mpp, min_area_um2, first=0)


def tissue_dpt(
    encoder: str = "vit-s-22k",
    *,
    width: int = 128,
    taxonomy: Taxonomy = GLANDS,
    mpp: float = 1.0,
    min_area_um2: float = 500.0,
) -> ModelSpec:
    """DPT (Ranftl et al. 2021, doi 10.1109/ICCV48922.2021.01196) over the taps of a vision transformer or a pyramid.

    Args:
        encoder: By its card's name, or a timm model with a pyramid.
        width: Channels of all levels and of their fusion.
        taxonomy: The classes of tissue; what is of none is the background.
        mpp: Resolution that it works at, µm/px.
        min_area_um2: Smaller regions are none.
    """
    decoder = Part(name="dpt", options={"width": width})
    return _spec("tissue_dpt", encoder, decoder, 4, taxonomy, mpp, min_area_um2)


def tissue_fcn8(
    encoder: str = "vgg16",
    *,
    hidden: int = 4096,
    taxonomy: Taxonomy = GLANDS,
    mpp: float = 1.0,
    min_area_um2: float = 500.0,
) -> ModelSpec:
    """FCN-8s over VGG16 (Long et al. 2015, doi 10.1109/CVPR.2015.7298965), a network that PathSegDiff is compared with.

    Args:
        encoder: VGG, whose levels stand before a pooling, or by its card's name or timm's another with a pyramid.
        hidden: Channels of the two convolutions that were VGG's fully connected layers.
        taxonomy: The classes of tissue; what is of none is the background.
        mpp: Resolution that it works at, µm/px.
        min_area_um2: Smaller regions are none.
    """
    decoder = Part(name="fcn8", options={"hidden": hidden})
    return _spec("tissue_fcn8", encoder, decoder, 3, taxonomy, mpp, min_area_um2, first=2)


def _spec(
    recipe: str,
    encoder: str,
    decoder: Part,
    levels: int,
    taxonomy: Taxonomy,
    mpp: float,
    min_area_um2: float,
    *,
    first: int = 1,
) -> ModelSpec:
    if not taxonomy:
        raise InputError("A model of tissue needs at least one class: name them in classes.json or with --classes.")
    area_px = max(1, math.ceil(min_area_um2 / mpp**2))
    return ModelSpec(
        name=recipe.replace("_", "-"),
        recipe=recipe,
        encoder=_encoder(encoder, range(first, first + levels)),
        decoder=decoder,
        heads=Part(name="pointwise"),
        representation=Part(name="semantic", options={"classes": len(taxonomy), "min_area_px": area_px}),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        **normalised(encoder, None, None),
        tile_px=512,
        margin_px=64,
        multiple=32,
    )


def _encoder(name: str, levels: range) -> Part:
    """The part of an encoder for levels counted from stride 2; VGG begins at stride 1, others at 4.

    Where a pyramid begins at stride 4, a level that it lacks is left out.
    """
    card = card_of(name)
    if card is None or card.part != "timm_pyramid":
        return pyramid_part(name, [level + name.startswith("vgg") for level in levels])
    from_2 = len(card.options.get("depths", ())) == 5
    return pyramid_part(name, [level - (not from_2) for level in levels if level or from_2])
