"""Dots as labels: discs, and nothing said where a nucleus may reach."""

from __future__ import annotations

import numpy as np

from histocyte.datasets.dots import painted_dots


def test_a_dot_becomes_a_disc_of_its_own_and_its_surroundings_are_not_known() -> None:
    points = np.array([[20.5, 10.5], [24.5, 10.5], [80.2, 50.9]])
    labels, unknown = painted_dots(points, (100, 120), mpp=0.5, every=True)
    assert [labels[10, 20], labels[10, 24], labels[50, 80]] == [1, 2, 3]
    areas = np.bincount(labels.ravel())[1:]
    assert abs(areas[2] * 0.25 - np.pi * 1.5**2) < 1.5  # µm²
    assert areas[0] + areas[1] < 2 * areas[2]  # what is near two dots belongs to the nearer one
    assert (labels[10, 18:22] == 1).all()
    assert (labels[10, 23:28] == 2).all()
    rows, columns = np.indices(labels.shape)
    near = np.min([np.hypot(rows - y, columns - x) for x, y in np.floor(points)], axis=0) * 0.5
    assert not unknown[labels > 0].any()
    assert np.array_equal(unknown, (near > 1.5) & (near < 12.0))


def test_where_not_every_nucleus_has_a_dot_nothing_is_background() -> None:
    labels, unknown = painted_dots(np.array([[10.0, 10.0]]), (64, 64), mpp=0.5, every=False)
    assert np.array_equal(unknown, labels == 0)


def test_no_dots_and_dots_beside_the_image() -> None:
    for points in (np.zeros((0, 2)), np.array([[-3.0, 5.0], [5.0, 64.0]])):
        labels, unknown = painted_dots(points, (64, 64), mpp=0.5, every=True)
        assert not labels.any()
        assert not unknown.any()  # every nucleus has a dot, so here is none
        assert painted_dots(points, (64, 64), mpp=0.5, every=False)[1].all()
