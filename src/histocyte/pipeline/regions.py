"""Tissue on one image: which class each pixel is of, and what hangs together."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.maps import split_maps
from histocyte.inference.image import predict_image
from histocyte.inference.load import Model
from histocyte.inference.plan import check_resolution

__all__ = ["Regions", "check_of_tissue", "class_map", "regions_on"]


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The tissue of an image.

    Attributes:
        classes: (H, W) uint8 class of each pixel, from 1, 0 the background.
        objects: (H, W) int32 a number for each connected region of one class, 0 the background.
    """

    classes: NDArray[np.uint8]
    objects: NDArray[np.int32]


def check_of_tissue(model: Model) -> None:
    """See that a model tells tissue apart.

    Raises:
        InputError: It finds cells.
    """
    if not model.spec.of_tissue:
        raise InputError(
            f"'{model.spec.name}' finds cells and tells no tissue apart. Pass a model of tissue, such as one trained "
            "with histocyte train --recipe tissue_fcn."
        )


def class_map(types: NDArray[np.floating], *, background: bool) -> NDArray[np.uint8]:
    """(H, W) the likeliest class of each pixel from 1, 0 the background; where they are equal, the first.

    Args:
        types: (C, H, W) probabilities, the background first if it is a class.
        background: Whether it is.
    """
    return (np.nan_to_num(types, nan=0.0).argmax(axis=0) + (not background)).astype(np.uint8)


def regions_on(image: NDArray[np.uint8], model: Model, *, mpp: float) -> Regions:
    """The tissue of one image in the image's own pixels; what evaluation scores.

    Args:
        image: (H, W, 3) uint8 RGB.
        model: Loaded model of tissue.
        mpp: Resolution of the image, µm/px.

    Raises:
        InputError: The model finds cells.
        ResolutionError: The image is too coarse for the model.
    """
    check_of_tissue(model)
    check_resolution(mpp, model.spec.mpp)
    seen = predict_image(image, model.runtime, model.spec, mpp=mpp, channels=model.channels)
    maps = split_maps(seen.maps, model.maps)
    objects = model.representation.decode(maps).labels
    types = np.asarray(maps["types"], np.float32)
    height, width = image.shape[:2]
    if image.shape != seen.pixels.shape:
        types = np.stack([cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in types])
        objects = cv2.resize(objects, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return Regions(class_map(types, background=model.spec.has_background), np.asarray(objects, np.int32))
