from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histocyte.core.cells import Cells
from histocyte.core.taxonomies import CONSEP
from histocyte.formats.wkb import from_wkb, to_wkb


def outlines(sizes: list[int]) -> Cells:
    n = len(sizes)
    rng = np.random.default_rng(0)
    return Cells(
        np.zeros((n, 2)),
        rng.uniform(-5, 1e6, (sum(sizes), 2)),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.zeros(n, np.float32),
        np.zeros((n, 4), np.float32),
        np.zeros(n, np.float32),
        CONSEP,
        0.25,
    )


def packed(cells: Cells) -> np.ndarray:
    content, offsets = to_wkb(cells)
    return np.array([content[a:b].tobytes() for a, b in zip(offsets, offsets[1:], strict=False)], object)


@given(st.lists(st.integers(3, 40), max_size=30))
def test_shapely_reads_the_same_rings(sizes):
    cells = outlines(sizes)
    polygons = shapely.from_wkb(packed(cells))
    for i, polygon in enumerate(polygons):
        ring = cells.contour(i)
        np.testing.assert_array_equal(shapely.get_coordinates(polygon), np.vstack([ring, ring[:1]]))
    assert list(packed(cells)) == list(shapely.to_wkb(polygons, byte_order=1))
    points, offsets = from_wkb(packed(cells))
    np.testing.assert_array_equal(points, cells.contour_xy)
    np.testing.assert_array_equal(offsets, cells.contour_offsets)


def test_outlines_of_one_or_two_points_become_rings_that_can_be_read():
    polygons = shapely.from_wkb(packed(outlines([1, 2, 3])))
    assert shapely.get_num_coordinates(polygons).tolist() == [4, 4, 4]


@pytest.mark.parametrize("other", ["POINT (1 2)", "POLYGON EMPTY", "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"])
def test_other_geometries_are_refused(other):
    with pytest.raises(ValueError, match="polygons"):
        from_wkb(np.array([shapely.to_wkb(shapely.from_wkt(other))], object))
