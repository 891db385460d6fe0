"""CellViT's and CISCA's sampling weights, against numbers worked out by hand from their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from histocyte.training.sampling import (
    PANNUKE_CELLS,
    PANNUKE_TISSUES,
    cell_weights,
    cellvit_weights,
    replication_weights,
    tissue_weights,
)


def test_tissues_of_pannuke() -> None:
    # Breast 2351 and kidney 134 of 7901 images: 7901 / (.85 · 2351 + .15 · 7901) = 2.482 and 6.082.
    counts = np.array([2351, 134, 7901 - 2351 - 134])
    assert tissue_weights(counts)[:2] == pytest.approx([2.482, 6.082], abs=5e-4)


def test_cells_of_pannuke() -> None:
    counts = np.array([4191, 4132, 6140, 232, 1528])  # the last but one: dead, 6.167; the third: connective, 2.120
    present = np.array([[0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
    weights = cell_weights(present, counts=counts)
    assert weights[0] == pytest.approx(0.15 + 0.85 * 6.167, abs=1e-3)
    assert weights[1] == pytest.approx(0.15 + 0.85 * 2.120, abs=1e-3)
    assert weights[2] == pytest.approx(0.15 + 0.85 * (6.167 + 2.120), abs=1e-3)
    assert weights[3] == weights[1]  # without cells: the least of the others


def test_gamma_runs_from_uniform_to_balanced() -> None:
    tissue = np.array([0, 0, 0, 1])
    present = np.ones((4, 2), bool)
    assert cellvit_weights(tissue, present, gamma=0) == pytest.approx([0.25] * 4)
    balanced = tissue_weights(np.array([3, 1]), gamma=1)
    assert 3 * balanced[0] == pytest.approx(balanced[1])


def test_images_without_any_cell_can_still_be_drawn() -> None:
    assert cellvit_weights(np.zeros(3, int), np.zeros((3, 4), bool)) == pytest.approx([1 / 3] * 3)


def test_copies_of_images_with_rare_classes() -> None:
    cells = np.array([[90, 0], [0, 1], [9, 0], [0, 0]])
    weights = replication_weights(cells, growth=3.0, percentile=100)
    # √(100 / 99) = 1.005, √(100 / 1) = 10: copies in that proportion, 8 of them for four images.
    assert weights == pytest.approx([1 + 8 * c / 12.0101 for c in (1.00504, 10, 1.00504, 0)], rel=1e-4)
    assert weights.mean() == pytest.approx(3)
    clipped = replication_weights(cells, growth=3.0, percentile=50)
    assert clipped[1] == clipped[0]
    assert replication_weights(np.zeros((3, 2), int)) == pytest.approx([1, 1, 1])


def test_weights_of_pannuke_do_not_depend_on_the_images_at_hand() -> None:
    tissues = list(PANNUKE_TISSUES)
    assert (len(tissues), sum(PANNUKE_TISSUES.values()), sum(PANNUKE_CELLS.values())) == (19, 7901, 16223)
    tissue = np.array([tissues.index("breast"), tissues.index("kidney")])
    present = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 1, 0]], bool)  # connective cells; dead ones
    of_pannuke = {
        "tissue_counts": np.array(list(PANNUKE_TISSUES.values())),
        "cell_counts": np.array(list(PANNUKE_CELLS.values())),
    }
    weights = cellvit_weights(tissue, present, **of_pannuke)
    by_cell = np.array([0.15 + 0.85 * 2.120, 0.15 + 0.85 * 6.167])
    expected = np.array([2.482, 6.082]) / 6.082 + by_cell / by_cell.max()
    assert weights == pytest.approx(expected / expected.sum(), abs=1e-4)
    # Of two images of two tissues and classes none is rarer than the other by itself.
    assert cellvit_weights(np.array([0, 1]), present) == pytest.approx([0.5, 0.5])
