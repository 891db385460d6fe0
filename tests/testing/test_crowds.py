from __future__ import annotations

import numpy as np

from histocyte.testing.crowds import crowded_ellipses, panoptic_quality, same_but_for_ids


def test_a_crowd_touches_and_is_the_same_each_time() -> None:
    labels = crowded_ellipses(96, 3)
    assert labels.shape == (96, 96)
    assert labels.max() > 15
    beside = (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] > 0) & (labels[:, :-1] > 0)
    assert beside.any()
    crowded_ellipses.cache_clear()
    assert np.array_equal(crowded_ellipses(96, 3), labels)
    assert not np.array_equal(crowded_ellipses(96, 4), labels)


def test_ids_do_not_matter_and_pixels_do() -> None:
    labels = np.array([[0, 1, 1, 2], [0, 1, 2, 2]], np.int32)
    assert same_but_for_ids(labels, np.array([0, 7, 3], np.int32)[labels])
    assert not same_but_for_ids(labels, np.array([0, 1, 1], np.int32)[labels])  # two as one
    assert not same_but_for_ids(np.array([0, 1, 1], np.int32)[labels], labels)  # one as two
    assert not same_but_for_ids(labels, np.where(labels == 2, 0, labels))  # one lost
    assert panoptic_quality(labels, labels) == 1
    assert panoptic_quality(labels, np.zeros_like(labels)) == 0
