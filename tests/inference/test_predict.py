"""Tiles: every pixel from the tile in which it lies most central, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.geometry import Box
from histocyte.inference.predict import predict_field
from histocyte.inference.runtime import Runtime


class Echo(Runtime):
    """Gives back the red channel, and remembers what it was shown."""

    name, device, parallel, multiple = "echo", "none", 1, 16

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.shapes.append(images.shape)
        return images[..., :1].transpose(0, 3, 1, 2).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 4])
def test_maps_stand_where_the_pixels_stood(batch: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 210, 3), dtype=np.uint8)
    runtime = Echo()
    maps = predict_field(image, runtime, channels=1, tile_px=64, margin_px=8, batch=batch)
    np.testing.assert_array_equal(maps[0], image[..., 0])
    assert max(shape[0] for shape in runtime.shapes) == batch


def test_tiles_that_nobody_wants_are_not_predicted() -> None:
    image = np.full((128, 256, 3), 9, np.uint8)
    runtime = Echo()
    left = Box(0, 0, 100, 128)
    maps = predict_field(
        image, runtime, channels=1, tile_px=64, margin_px=0, wanted=lambda box: box.clip(left).area > 0
    )
    assert len(runtime.shapes) == 4
    assert (maps[0, :, :128] == 9).all()
    assert (maps[0, :, 128:] == 0).all()
