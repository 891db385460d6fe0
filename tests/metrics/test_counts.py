import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.metrics.counts import class_counts, r_squared

LABELS = np.zeros((8, 8), np.int32)
LABELS[0, 0], LABELS[1:3, 1:3], LABELS[5:, 5:] = 3, 5, 9
TYPES = np.array([0, 0, 0, 1, 0, 2, 0, 0, 0, 1])


def test_instances_are_counted_by_class():
    assert class_counts(LABELS, TYPES, n_classes=3).tolist() == [2, 1, 0]


def test_only_what_reaches_the_centre_counts():
    assert class_counts(LABELS, TYPES, n_classes=3, centre_px=4).tolist() == [1, 1, 0]
    with pytest.raises(InputError, match="does not fit"):
        class_counts(LABELS, TYPES, n_classes=3, centre_px=9)


def test_r_squared_by_hand():
    assert r_squared([1, 2, 3], [1, 2, 4]) == pytest.approx(0.5)
    np.testing.assert_allclose(r_squared([[1, 0], [3, 2]], [[1, 9], [3, 2]]), [1, -39.5])


def test_a_count_that_never_changes():
    assert r_squared([2, 2], [2, 2]) == 1
    assert r_squared([2, 2], [2, 3]) == 0
    assert np.isnan(r_squared([2, 2], [2, 2], constant="undefined"))
    assert np.isnan(r_squared([2], [2]))
    with pytest.raises(InputError, match="differ in shape"):
        r_squared([1, 2], [1])
