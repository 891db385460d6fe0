from __future__ import annotations

import numpy as np
import pytest

from histocyte.store.hilbert import hilbert_index


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_every_cell_once_and_each_step_to_a_neighbour(bits):
    y, x = np.divmod(np.arange(4**bits), 2**bits)
    place = hilbert_index(x, y, bits=bits)
    order = np.argsort(place)
    assert sorted(place) == list(range(4**bits))
    assert (np.abs(np.diff(x[order])) + np.abs(np.diff(y[order])) == 1).all()


def test_the_curve_over_squares_is_the_curve_of_their_cells():
    y, x = np.divmod(np.arange(4**5), 2**5)
    squares = hilbert_index(x, y, bits=5) >> 4
    assert len({(s, a, b) for s, a, b in zip(squares, x >> 2, y >> 2, strict=True)}) == 4**3


def test_points_off_the_grid_are_moved_onto_it():
    assert (
        hilbert_index(np.array([-5, 99]), np.array([3, -1]), bits=3).tolist()
        == hilbert_index(np.array([0, 7]), np.array([3, 0]), bits=3).tolist()
    )
