"""A whole image through a network: read, tiled and joined as a block of a slide is."""

from __future__ import annotations

import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.inference.image import predict_image
from histocyte.inference.load import Model
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses


def test_an_image_is_seen_at_the_networks_resolution_whatever_the_tiles(perfect_model: Model, colourful: Model) -> None:
    image = paint_truth(packed_ellipses((150, 90), 20, seed=5), CONSEP)
    twice = image.repeat(2, axis=0).repeat(2, axis=1)
    runtime, channels = perfect_model.runtime, perfect_model.channels
    whole = predict_image(image, runtime, perfect_model.spec, mpp=0.25, channels=channels)
    assert whole.features is None
    np.testing.assert_array_equal(whole.pixels, image)
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)), constant_values=255)
    np.testing.assert_allclose(whole.maps, runtime.predict(padded[None])[0, :, :height, :width], atol=1e-3)
    tiled = perfect_model.with_tiles(tile_px=64, margin_px=16)
    other = predict_image(image, runtime, tiled.spec, mpp=0.25, channels=channels)
    np.testing.assert_array_equal(other.maps, whole.maps)
    finer = predict_image(twice, runtime, perfect_model.spec, mpp=0.125, channels=channels)
    assert finer.maps.shape == whole.maps.shape
    assert ((finer.maps[0] > 0.5) == (whole.maps[0] > 0.5)).mean() > 0.95  # but at edges, which resampling blurs
    coloured = predict_image(twice, colourful.runtime, colourful.spec, mpp=0.125, channels=channels, features=True)
    assert coloured.features is not None
    everywhere = np.ones(image.shape[:2], np.int32)
    np.testing.assert_allclose(coloured.features.pool(everywhere)[0], image.mean(axis=(0, 1)), atol=1)
    with pytest.raises(InputError, match="no vectors"):
        predict_image(image, runtime, perfect_model.spec, mpp=0.25, channels=channels, features=True)
