"""Which tissue an image is of, told by the head of a model on the whole image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.inference.load import Model
from histocyte.slides.array_reader import resampled

__all__ = ["tells_tissues", "tissue_of"]

_WHITE = 255


def tells_tissues(model: Model) -> bool:
    """Whether a model has such a head and its runtime runs it: an ONNX file holds the maps alone."""
    return bool(model.spec.tissues) and model.runtime.tells_tissues


def tissue_of(image: NDArray[np.uint8], model: Model, *, mpp: float) -> str:
    """The likeliest of the tissues that a model tells apart.

    The head sums up a whole image, of the size that it has learnt from or near it; of a larger one the mean over tiles
    counts.

    Args:
        image: (H, W, 3) uint8 RGB.
        model: One that `tells_tissues`.
        mpp: Resolution of the image, µm/px.

    Raises:
        InputError: It does not.
    """
    runtime = model.runtime
    if not tells_tissues(model):
        raise InputError(f"The model '{model.spec.name}' on {runtime.name} tells no tissues apart.")
    pixels = resampled(image, mpp=mpp, to_mpp=model.spec.mpp)
    side, step = model.spec.tile_px, model.spec.multiple
    told = []
    for top in range(0, pixels.shape[0], side):
        for left in range(0, pixels.shape[1], side):
            tile = pixels[top : top + side, left : left + side]
            fill = [(0, -n % step) for n in tile.shape[:2]]
            padded = np.pad(tile, (*fill, (0, 0)), constant_values=_WHITE)
            told.append(tile.shape[0] * tile.shape[1] * runtime.tissue_probabilities(padded[None])[0])
    return model.spec.tissues[int(np.sum(told, axis=0).argmax())]
