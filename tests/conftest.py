"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers of the test run share the processors

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.taxonomy import CONSEP
from histocyte.inference.embed import FeatureInfo
from histocyte.inference.load import Model
from histocyte.model.spec import ModelSpec, Part
from histocyte.representations.hover import Hover
from histocyte.testing.perfect import PerfectModel

SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and reference answers, where they are at hand."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared data is not here")
    return SHARED


class PerfectRuntime:
    """The perfect model as a runtime."""

    name, device, parallel, multiple = "perfect", "numpy", 2, 16

    def __init__(self) -> None:
        self._model = PerfectModel(CONSEP)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._model.predict(images)


class ColourVectors:
    """The perfect runtime, whose features are the colours of the pixels themselves."""

    features = FeatureInfo("colour", 3)

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._inner.predict(images)  # type: ignore[attr-defined]

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        return self.predict(images), images.astype(np.float16)


def make_perfect_model() -> Model:
    """A model that reads the truth off images painted by `testing.perfect.paint_truth`, at 0.25 µm/px."""
    spec = ModelSpec(
        name="perfect",
        encoder=Part(name="none"),
        decoder=Part(name="none"),
        heads=Part(name="none"),
        representation=Part(name="hover", options={"classes": len(CONSEP)}),
        taxonomy=CONSEP.to_json(),
        mpp=0.25,
        tile_px=256,
        margin_px=16,
    )
    return Model(spec, PerfectRuntime(), Hover(classes=len(CONSEP)), "0" * 64)


@pytest.fixture(scope="session")
def perfect_model() -> Model:
    """See `make_perfect_model`."""
    return make_perfect_model()


@pytest.fixture(scope="session")
def colourful(perfect_model: Model) -> Model:
    """The perfect model, whose vectors are colours."""
    return replace(perfect_model, runtime=ColourVectors(perfect_model.runtime))
