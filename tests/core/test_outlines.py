"""Outlines along pixel edges: exact area, simple rings."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histocyte.core.labels import clean_instances, instance_statistics
from histocyte.core.outlines import trace_outlines, trace_outlines_plain

label_maps = hnp.arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3))


def _polygons(labels):
    points, offsets = trace_outlines(labels)
    return [shapely.Polygon(points[a:b]) for a, b in zip(offsets[:-1], offsets[1:], strict=True) if b > a]


@settings(max_examples=100, deadline=None)
@given(label_maps)
def test_compiled_and_plain_trace_alike(labels):
    points, offsets = trace_outlines(labels)
    plain_points, plain_offsets = trace_outlines_plain(labels)
    assert np.array_equal(offsets, plain_offsets)
    assert np.array_equal(points, plain_points)


@settings(max_examples=80, deadline=None)
@given(label_maps)
def test_rings_are_simple_whatever_the_shape(labels):
    assert all(polygon.is_valid for polygon in _polygons(labels))


@settings(max_examples=80, deadline=None)
@given(label_maps)
def test_area_and_centroid_are_those_of_the_pixels(labels):
    solid = clean_instances(labels)
    area, centroid = instance_statistics(solid)
    polygons = _polygons(solid)
    assert [p.area for p in polygons] == area.tolist()
    for polygon, xy in zip(polygons, centroid, strict=True):
        assert np.allclose((polygon.centroid.x, polygon.centroid.y), xy)


def test_smooth_blobs_give_valid_polygons_that_do_not_overlap():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:200, :200]
    labels = np.zeros((200, 200), np.int32)
    for i in range(1, 60):
        x, y, a, b = *rng.uniform(0, 200, 2), *rng.uniform(3, 14, 2)
        labels[((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 < 1 + 0.3 * rng.standard_normal((200, 200))] = i
    polygons = _polygons(clean_instances(labels))
    assert all(p.is_valid for p in polygons)
    assert shapely.union_all(polygons).area == sum(p.area for p in polygons)


@settings(max_examples=80, deadline=None)
@given(label_maps)
def test_a_clean_map_need_not_be_searched_for_pieces(labels):
    solid = clean_instances(labels)
    for searched, taken in zip(trace_outlines(solid), trace_outlines(solid, clean=True), strict=True):
        assert np.array_equal(searched, taken)


def test_one_pixel():
    points, offsets = trace_outlines(np.array([[0, 0], [0, 1]], np.int32))
    assert points.tolist() == [[1, 1], [2, 1], [2, 2], [1, 2]]
    assert offsets.tolist() == [0, 4]


def test_an_absent_id_has_no_points():
    assert trace_outlines(np.array([[2]], np.int32))[1].tolist() == [0, 0, 4]


def test_nothing_has_no_outline():
    points, offsets = trace_outlines(np.zeros((3, 3), np.int32))
    assert points.shape == (0, 2)
    assert offsets.tolist() == [0]
