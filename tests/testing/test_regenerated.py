"""Regenerated weights are the same everywhere, and of a size that networks bear."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from histocyte.testing.regenerated import read_shapes, regenerated


def test_a_weight_follows_from_its_name_and_shape() -> None:
    kernel = regenerated("a.conv.weight", (8, 4, 3, 3))
    np.testing.assert_array_equal(kernel, regenerated("a.conv.weight", (8, 4, 3, 3)))
    assert kernel.std() < 2 / np.sqrt(4 * 9)
    assert not np.array_equal(kernel, regenerated("b.conv.weight", (8, 4, 3, 3)))


def test_norms_and_biases_are_near_those_that_change_nothing() -> None:
    assert abs(regenerated("n.weight", (500,)).mean() - 1) < 0.05
    assert abs(regenerated("n.bias", (500,))).max() < 0.5
    assert regenerated("n.running_var", (500,)).min() >= 1
    assert regenerated("n.num_batches_tracked", ()) == 0


def test_shapes_are_read_from_lines(tmp_path: Path) -> None:
    (tmp_path / "keys.tsv").write_text("a.weight\t8x4x3x3\nb.num_batches_tracked\t\n")
    assert read_shapes(tmp_path / "keys.tsv") == {"a.weight": (8, 4, 3, 3), "b.num_batches_tracked": ()}
