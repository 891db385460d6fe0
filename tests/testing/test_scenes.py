from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histocyte.core.errors import UnknownNameError
from histocyte.testing.scenes import SCENES, discs, packed_ellipses, scene, touching_grid


def test_disc_area_and_place() -> None:
    labels = discs((60, 40), [(20.5, 10.5)], 8)
    rows, columns = np.nonzero(labels.instances)
    assert len(rows) == pytest.approx(np.pi * 64, rel=0.05)
    assert (columns.mean(), rows.mean()) == (20, 10)
    assert labels.instances.shape == (40, 60)


def test_touching_discs_share_the_border_evenly() -> None:
    labels = discs((60, 30), [(20, 15), (32, 15)], 8)
    areas = np.bincount(labels.instances.ravel())
    assert areas[1] == areas[2]
    assert (labels.instances[15, 25], labels.instances[15, 26]) == (1, 2)


def test_grid_counts_and_touches() -> None:
    labels = touching_grid((100, 100), 10, 20)
    assert labels.instances.max() == 25
    apart = touching_grid((100, 100), 8, 20)
    row = apart.instances[10]
    assert not ((row[1:] != row[:-1]) & (row[1:] > 0) & (row[:-1] > 0)).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60))
def test_packed_ellipses_number_without_gaps(seed: int, n: int) -> None:
    labels = packed_ellipses((150, 120), n, seed)
    assert labels.types is not None
    assert len(labels.types) - 1 <= n
    assert set(np.unique(labels.instances)) | {0} == set(range(len(labels.types)))


@pytest.mark.parametrize("kind", SCENES)
def test_every_scene_is_a_valid_label_map(kind: str) -> None:
    labels = scene(kind, 3)
    assert labels.types is not None
    assert labels.types[0] == 0
    assert labels.instances.dtype == np.int32
    assert set(np.unique(labels.instances)) | {0} == set(range(len(labels.types)))
    assert np.array_equal(labels.instances, scene(kind, 3).instances)


def test_scenes_are_what_their_names_say() -> None:
    assert scene("empty").instances.max() == 0
    assert scene("one").instances.max() == 1
    border = scene("border").instances
    assert set(np.unique(border)) - {0} == (
        set(border[0]) | set(border[-1]) | set(border[:, 0]) | set(border[:, -1])
    ) - {0}
    bent = scene("non_convex").instances == 1
    rows, columns = np.nonzero(bent)
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert bent.sum() < 0.6 * box


def test_unknown_scene_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="touching_grid"):
        scene("touching_gird")
