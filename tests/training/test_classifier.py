"""Fitting heads on vectors of cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from histocyte.model.classifier import Head
from histocyte.training.classifier import FittedHead, HeadOptions, fit_head

torch.set_num_threads(1)


def cells(count: int, seed: int = 0, width: int = 20) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    types = rng.integers(0, 3, count)
    vectors = rng.normal(size=(count, width))
    vectors[:, :3] += 3 * np.eye(3)[types]
    return (vectors * 40 + 500).astype(np.float32), types


def fitted(hidden: int = 0, **changes: int) -> FittedHead:
    return fit_head(*cells(400), *cells(100, 1), classes=3, options=HeadOptions(hidden=hidden, **changes))


def accuracy(found: FittedHead) -> float:
    vectors, types = cells(300, 2)
    return float((Head(found.mean, found.std, found.layers).probabilities(vectors).argmax(axis=1) == types).mean())


@pytest.mark.parametrize("hidden", [0, 24])
def test_a_head_learns_classes_of_cells_it_has_not_seen(hidden: int) -> None:
    found = fitted(hidden)
    assert [w.shape for w, _ in found.layers] == ([(24, 20), (3, 24)] if hidden else [(3, 20)])
    assert accuracy(found) > 0.9


def test_the_same_seed_gives_the_same_head_whatever_was_drawn_before() -> None:
    first = fitted(8)
    torch.rand(5)
    second, other = fitted(8), fitted(8, seed=1)
    np.testing.assert_array_equal(first.layers[0][0], second.layers[0][0])
    assert not np.array_equal(first.layers[0][0], other.layers[0][0])


def test_the_epoch_that_does_best_on_the_other_cells_is_kept() -> None:
    vectors, types = cells(200)
    wrong = (types + 1) % 3  # what is learnt makes it worse there from the first epoch on
    found = fit_head(vectors, types, vectors, wrong, classes=3, options=HeadOptions(epochs=50, patience=4))
    assert found.best_epoch <= 2
    assert found.epochs == found.best_epoch + 4
    alone = fit_head(vectors, types, vectors[:0], types[:0], classes=3, options=HeadOptions(epochs=7, patience=4))
    assert (alone.epochs, alone.best_epoch) == (7, 7)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    vectors, types = cells(400)
    vectors[:, 7] = 1234.5
    found = fit_head(vectors, types, *cells(50, 1), classes=3, options=HeadOptions(epochs=2))
    assert found.std[7] == 1
    assert all(np.isfinite(weight).all() for weight, _ in found.layers)
