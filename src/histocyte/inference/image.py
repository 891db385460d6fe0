"""A whole image through a network: what evaluation, teachers and studies run where `segment` goes block by block.

Reading, tiles and the way in which maps are put together are those of a block of a slide (`predict.predict_field`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from histocyte.inference.embed import FieldFeatures
from histocyte.inference.predict import predict_field
from histocyte.inference.runtime import Runtime, features_of
from histocyte.slides.array_reader import resampled

__all__ = ["Predicted", "Shown", "predict_image"]


class Shown(Protocol):
    """How a network is shown images; a model's spec says it."""

    @property
    def mpp(self) -> float:
        """Resolution, µm/px."""

    @property
    def tile_px(self) -> int:
        """Side of a tile."""

    @property
    def margin_px(self) -> int:
        """Its margin."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a network makes of an image, at the network's resolution.

    Attributes:
        pixels: (H, W, 3) uint8 RGB that it was shown.
        maps: (C, H, W) in half precision.
        features: Features of its tiles, where they were asked for.
    """

    pixels: NDArray[np.uint8]
    maps: NDArray[np.float16]
    features: FieldFeatures | None


def predict_image(
    image: NDArray[np.uint8], runtime: Runtime, shown: Shown, *, mpp: float, channels: int, features: bool = False
) -> Predicted:
    """Maps of an image, and where asked for the encoder's features of the same pass.

    Args:
        image: (H, W, 3) uint8 RGB.
        runtime: The network.
        shown: How it is shown images.
        mpp: Resolution of the image, µm/px.
        channels: Channels of all maps that the runtime gives.
        features: Keep the features too.

    Raises:
        InputError: An array that is not an image, or features of a runtime that gives none.
        ResolutionError: The resolution is impossible.
    """
    taken = FieldFeatures(features_of(runtime)) if features else None
    pixels = resampled(image, mpp=mpp, to_mpp=shown.mpp)
    maps = predict_field(
        pixels,
        runtime,
        channels=channels,
        tile_px=shown.tile_px,
        margin_px=shown.margin_px,
        features=taken,
    )
    return Predicted(pixels, maps, taken)
