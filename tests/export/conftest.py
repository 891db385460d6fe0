"""Made-up cells and a disk that fills up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest

from histocyte.core.cells import Cells
from histocyte.core.taxonomy import CONSEP, Taxonomy

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
