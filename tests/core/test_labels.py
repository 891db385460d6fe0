"""Tidy label maps: solid one-piece instances, and their size and place."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histocyte.core.labels import clean_instances, clean_instances_plain, instance_statistics, largest_pieces

label_maps = hnp.arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3))


@settings(max_examples=100, deadline=None)
@given(label_maps)
def test_compiled_and_plain_clean_alike(labels):
    assert np.array_equal(clean_instances(labels), clean_instances_plain(labels))


@settings(deadline=None)
@given(label_maps)
def test_cleaning_twice_changes_nothing(labels):
    once = clean_instances(labels)
    assert np.array_equal(clean_instances(once), once)


def test_of_two_pieces_the_larger_stays():
    labels = np.array([[4, 0, 4, 4], [4, 0, 4, 4]], np.int32)
    assert np.array_equal(largest_pieces(labels), [[0, 0, 4, 4], [0, 0, 4, 4]])
    assert np.array_equal(clean_instances(labels), [[0, 0, 1, 1], [0, 0, 1, 1]])


def test_pieces_that_meet_only_in_a_corner_are_two():
    labels = np.array([[1, 1, 0], [0, 0, 1]], np.int32)
    assert np.array_equal(clean_instances(labels), [[1, 1, 0], [0, 0, 0]])


def test_a_pocket_closed_by_a_corner_is_filled():
    labels = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.int32)
    assert np.array_equal(clean_instances(labels), [[1, 1, 1], [1, 1, 1], [1, 1, 0]])


def test_what_an_instance_encloses_becomes_its_own():
    labels = np.full((5, 5), 7, np.int32)
    labels[2, 2] = 3
    assert np.array_equal(clean_instances(labels), np.ones((5, 5)))


def test_a_notch_at_the_border_is_no_hole():
    labels = np.array([[5, 0, 5], [5, 5, 5]], np.int32)
    assert np.array_equal(clean_instances(labels), labels > 0)


def test_checkerboard_of_many_ids():
    labels = np.arange(1, 37, dtype=np.int32).reshape(6, 6)
    assert np.array_equal(clean_instances(labels), labels)


def test_ids_become_contiguous_in_their_order():
    labels = np.array([[9, 0, 2], [9, 0, 2]], np.int32)
    assert np.array_equal(clean_instances(labels), [[2, 0, 1], [2, 0, 1]])


def test_statistics_count_from_the_pixels_corner():
    labels = np.array([[0, 1, 1], [0, 0, 0], [3, 0, 0]], np.int32)
    area, centroid = instance_statistics(labels)
    assert area.tolist() == [2, 0, 1]
    assert centroid[0].tolist() == [2.0, 0.5]
    assert np.isnan(centroid[1]).all()
    assert centroid[2].tolist() == [0.5, 2.5]


def test_nothing_has_no_statistics():
    area, centroid = instance_statistics(np.zeros((4, 4), np.int32))
    assert area.shape == (0,)
    assert centroid.shape == (0, 2)
