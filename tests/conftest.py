"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers of the test run share the processors

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.cells import Cells
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy
from histocyte.inference.load import Model
from histocyte.inference.runtime import Runtime
from histocyte.model.features import FeatureInfo
from histocyte.model.spec import ModelSpec, Part
from histocyte.representations.hover.scheme import Hover
from histocyte.testing.perfect import PerfectModel

SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and reference answers, where they are at hand."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared data is not here")
    return SHARED


class PerfectRuntime(Runtime):
    """The perfect model as a runtime."""

    name, device, parallel, multiple = "perfect", "numpy", 2, 16

    def __init__(self, taxonomy: Taxonomy = CONSEP) -> None:
        self._model = PerfectModel(taxonomy)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._model.predict(images)


class ColourVectors(Runtime):
    """The perfect runtime, whose features are the colours of the pixels themselves."""

    features = FeatureInfo("colour", 3)

    def __init__(self, inner: Runtime) -> None:
        self.name, self.device, self.parallel, self.multiple = inner.name, inner.device, inner.parallel, inner.multiple
        self._inner = inner

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._inner.predict(images)

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


CLASSLESS = Taxonomy("none", ())


def make_cells(n: int = 50, *, seed: int = 0, taxonomy: Taxonomy = CONSEP, embeddings: int | None = None) -> Cells:
    """Star-shaped outlines of 3 to 30 points around their centres, anywhere on a large slide."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 150_000, (n, 2))
    sizes = rng.integers(3, 30, n)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    cell = np.repeat(np.arange(n), sizes)
    angle = 2 * np.pi * (np.arange(len(cell)) - offsets[cell]) / sizes[cell]
    points = xy[cell] + rng.uniform(8, 12, len(cell))[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    probabilities = rng.random((n, len(taxonomy))).astype(np.float32) ** 3
    return Cells(
        xy,
        points,
        offsets,
        rng.uniform(5, 80, n).astype(np.float32),
        probabilities / probabilities.sum(axis=1, keepdims=True) if len(taxonomy) else probabilities,
        rng.random(n, np.float32),
        taxonomy,
        0.2527,
        None if embeddings is None else rng.random((n, embeddings), np.float32),
    )


@pytest.fixture
def cells_of() -> Callable[..., Cells]:
    return make_cells


@pytest.fixture
def classless() -> Taxonomy:
    return CLASSLESS


@pytest.fixture
def small_disk() -> Callable[[], AbstractContextManager[None]]:
    """Within it no file can grow beyond 20 kB."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
