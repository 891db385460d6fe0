"""Logits of one view or several."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import Labels
from histocyte.core.maps import MapSpec
from histocyte.inference.runtime import Runtime
from histocyte.inference.views import ViewsRuntime
from histocyte.model.features import FeatureInfo
from histocyte.representations.distance.scheme import Distance
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.maps.kinds import MapKind
from histocyte.representations.maps.logits import activated
from histocyte.representations.protocol import Representation
from histocyte.representations.star.scheme import Star
from histocyte.testing.scenes import packed_ellipses


class Reader(Runtime):
    """Is told each pixel's nucleus by its grey, and writes that nucleus' maps as it sees it: turned."""

    name, device, parallel, multiple = "reader", "numpy", 1, 8

    def __init__(self, representation: Representation) -> None:
        self.representation = representation

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = []
        for image in images:
            instances = np.ascontiguousarray(image[..., 0], np.int32)
            encoded = self.representation.encode(Labels(instances, TYPES))
            maps.append(np.concatenate([encoded[spec.name] for spec in self.representation.maps]))
        return np.stack(maps).astype(np.float32)


TYPES = np.array([0, *([1, 2] * 60)], np.uint8)


@pytest.mark.parametrize("views", [1, 2, 4, 8])
@pytest.mark.parametrize("representation", [Hover(2), Star(2), Distance(2)], ids=lambda r: type(r).__name__)
def test_a_network_that_is_right_from_every_side_is_right_on_average(
    representation: Representation, views: int
) -> None:
    instances = packed_ellipses((64, 96), 14, seed=2).instances
    assert 5 < instances.max() < 120
    image = np.repeat(instances.astype(np.uint8)[None, ..., None], 3, axis=3)
    reader = Reader(representation)
    logits = ViewsRuntime(reader, representation, views=views, logits=True).predict(image)
    assert np.abs(activated(logits, representation.maps) - reader.predict(image)).max() < 1e-3


class Left(Runtime):
    """Takes the left half of what it sees for nuclei."""

    name, device, parallel, multiple = "left", "numpy", 1, 8
    features = FeatureInfo("left", 1)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = np.zeros((len(images), 3, *images.shape[1:3]), np.float32)
        maps[:, 0, :, : images.shape[2] // 2] = 1
        return maps

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        return self.predict(images), np.ones((len(images), 1, 1, 1), np.float16)


@pytest.mark.parametrize("views", [2, 4, 8])
def test_maps_are_averaged_over_views(views: int) -> None:
    images = np.zeros((1, 8, 8, 3), np.uint8)
    runtime = ViewsRuntime(Left(), Hover(), views=views)
    expected = mean_of_halves(views)[None]
    for maps in (runtime.predict(images), runtime.predict_with_features(images)[0]):
        np.testing.assert_allclose(maps[:, 0], expected)


def mean_of_halves(views: int) -> NDArray[np.float32]:
    """Mean of left halves (2 views: left and right), or of all four halves."""
    left = np.zeros((8, 8), np.float32)
    left[:, :4] = 1
    sides = [left, left[:, ::-1]] if views == 2 else [np.rot90(left, k) for k in range(4)]
    return np.asarray(np.mean(sides, axis=0), np.float32)


def test_views_are_averaged_as_probabilities() -> None:
    images = np.zeros((1, 8, 8, 3), np.uint8)
    for views, share in ((2, 0.5), (4, 0.5), (8, 0.5)):
        runtime = ViewsRuntime(Left(), Hover(), views=views, logits=True)
        for logits in (runtime.predict(images), runtime.predict_with_features(images)[0]):
            assert activated(logits, Hover().maps)[0, 0].mean() == pytest.approx(share, abs=1e-3)
        assert runtime.predict_with_features(images)[1].shape == (1, 1, 1, 1)
    assert ViewsRuntime(Left(), Hover(), logits=True).predict(images)[0, 0, 0, 0] > 15


def test_nothing_that_is_known_of_a_runtime_is_lost_behind_views() -> None:
    class Known(Left):
        channels, precision, tells_tissues = 3, "bf16", True

    known = Known()
    seen = ViewsRuntime(known, Hover(), views=2)
    for name in Runtime.__annotations__:
        assert getattr(seen, name) == getattr(known, name), name


def test_maps_that_point_somewhere_unknown_are_seen_from_one_side_alone() -> None:
    class Foreign:
        maps = (MapSpec("arrows", 2),)
        kinds: ClassVar = {"arrows": MapKind("arrows")}

    one_side = ViewsRuntime(Left(), Foreign())  # type: ignore[arg-type]
    assert one_side.predict(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 3, 8, 8)
    with pytest.raises(InputError, match="arrows"):
        ViewsRuntime(Left(), Foreign(), views=2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1, 2, 4, 8 views"):
        ViewsRuntime(Left(), Hover(), views=3)
