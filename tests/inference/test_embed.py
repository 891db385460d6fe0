"""A vector for each nucleus: the mean over its pixels, whatever the tiles."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.inference.embed import FieldFeatures, pool_plain
from histocyte.inference.predict import predict_field
from histocyte.inference.runtime import Runtime, features_of
from histocyte.model.features import FeatureInfo

torch = pytest.importorskip("torch")

from histocyte.inference.torch_runtime import TorchRuntime  # noqa: E402
from histocyte.model.build import build_segmenter  # noqa: E402
from histocyte.recipes.hover_unet import hover_unet  # noqa: E402


class Means(Runtime):
    """Gives the mean colour of each square of 4 px as its features, and remembers nothing."""

    name, device, parallel, multiple = "means", "none", 1, 4
    features = FeatureInfo("mean colour", 3)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return images[..., :1].transpose(0, 3, 1, 2).astype(np.float32)

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        b, h, w, _ = images.shape
        squares = images.reshape(b, h // 4, 4, w // 4, 4, 3).astype(np.float64).mean(axis=(2, 4))
        return self.predict(images), squares.astype(np.float16)


def nuclei(height: int, width: int) -> NDArray[np.int32]:
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.int32)
    for number, (row, column) in enumerate([(10, 12), (30, 31), (33, 70), (60, 33), (height - 2, width - 3)], 1):
        labels[(y - row) ** 2 + (x - column) ** 2 < 50] = number
    return labels


def taken_from(image: NDArray[np.uint8], tile_px: int, margin_px: int) -> FieldFeatures:
    kept = FieldFeatures(features_of(Means()))
    predict_field(image, Means(), channels=1, tile_px=tile_px, margin_px=margin_px, features=kept)
    return kept


def test_the_quick_way_agrees_with_the_plain_one_and_no_tiling_changes_a_vector() -> None:
    image = np.random.default_rng(0).integers(0, 256, (78, 101, 3), dtype=np.uint8)
    labels = nuclei(78, 101)
    whole = taken_from(image, 128, 0).pool(labels)
    assert whole.shape == (5, 3)
    for tile_px, margin_px in ((32, 4), (48, 12), (64, 0)):
        kept = taken_from(image, tile_px, margin_px)
        np.testing.assert_allclose(kept.pool(labels), pool_plain(kept, labels), rtol=1e-6)
        np.testing.assert_allclose(kept.pool(labels), whole, rtol=1e-6)


def test_features_count_by_the_area_they_share() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 100
    labels = np.zeros((8, 8), np.int32)
    labels[0, 1:5] = 1
    np.testing.assert_allclose(taken_from(image, 8, 0).pool(labels), np.full((1, 3), 25.0))


def test_steps_that_are_no_whole_pixels_and_a_border_are_placed_as_the_plain_way_does() -> None:
    values = np.random.default_rng(1).normal(size=(4, 7, 2)).astype(np.float16)
    tile = taken_from(np.zeros((40, 64, 3), np.uint8), 64, 0).tiles[0]
    for border in (0, 5):
        kept = FieldFeatures(FeatureInfo("odd", 2, border))
        kept.add(tile.row, tile.column, values)
        labels = nuclei(40, 64)
        np.testing.assert_allclose(kept.pool(labels), pool_plain(kept, labels), rtol=1e-5)


def test_a_field_without_nuclei_has_no_vectors() -> None:
    assert taken_from(np.zeros((16, 16, 3), np.uint8), 16, 0).pool(np.zeros((16, 16), np.int32)).shape == (0, 3)


def test_a_runtime_that_gives_maps_alone_is_refused_with_the_way_out() -> None:
    class MapsAlone(Runtime):
        name, device, parallel, multiple = "openvino", "CPU", 1, 16

        def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return images[..., :1].transpose(0, 3, 1, 2).astype(np.float32)

    images = np.zeros((1, 16, 16, 3), np.uint8)
    for asked in (features_of, lambda runtime: runtime.predict_with_features(images)):
        with pytest.raises(InputError, match="--runtime torch"):
            asked(MapsAlone())


def test_torch_gives_the_deepest_features_with_the_very_maps() -> None:
    torch.manual_seed(0)
    network = build_segmenter(hover_unet())
    runtime = TorchRuntime(network, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    maps, features = runtime.predict_with_features(images)
    np.testing.assert_array_equal(maps, runtime.predict(images))
    assert features.shape == (2, 4, 6, features_of(runtime).width)
    assert features.dtype == np.float16
    with torch.inference_mode():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        deepest = network.encoder(network.normalise(pixels)).pyramid[-1].permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(features, deepest, rtol=2e-3, atol=2e-3)
