import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial.distance import cdist

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.metrics.assignment import assign
from histocyte.metrics.detection import (
    ClassDetectionCounts,
    DetectionCounts,
    centroids,
    class_detection_counts,
    detection_radius_px,
    hovernet_points,
    match_centroids,
)

points = arrays.arrays(
    np.float64, st.tuples(st.integers(0, 12), st.just(2)), elements=st.floats(0, 30, allow_subnormal=False)
)


def on_line(*x):
    return np.array([(v, 0.0) for v in x]).reshape(-1, 2)


def test_radius_is_3_micrometres():
    assert detection_radius_px(0.25) == 12
    assert detection_radius_px(0.5) == 6


def test_centroids_lie_in_the_middle_of_the_pixels():
    labels = np.zeros((4, 6), np.int32)
    labels[0, 0], labels[1:3, 2:6] = 9, 4
    ids, xy = centroids(labels)
    np.testing.assert_array_equal(ids, [4, 9])
    np.testing.assert_array_equal(xy, [[4, 2], [0.5, 0.5]])


@pytest.mark.parametrize("mode", ["hovernet", "max_cardinality"])
def test_a_pair_at_the_radius_counts_and_one_beyond_does_not(mode):
    match = match_centroids(on_line(0, 100), on_line(12, 112.01), radius_px=12, mode=mode)
    assert match.counts() == DetectionCounts(1, 1, 1)
    assert (match.truth.tolist(), match.found.tolist()) == ([0], [0])


def test_smallest_total_is_taken_where_greedy_would_take_the_nearest_first():
    # Greedy would join 10–9 and leave 0–19 too far apart; the assignment joins both.
    match = match_centroids(on_line(0, 10), on_line(9, 19), radius_px=12)
    assert match.counts().tp == 2


def test_hovernet_can_lose_a_pair_that_the_largest_matching_keeps():
    truth, found = np.array([[0, 0], [-0.8, 3.5]]), np.array([[-0.4, 0.9], [12, 0]])
    # Summed distances: 0.98 + 13.27 = 14.25 with one pair beyond 12 px, or 12 + 2.63 = 14.63 with none.
    assert match_centroids(truth, found, radius_px=12).counts() == DetectionCounts(1, 1, 1)
    assert match_centroids(truth, found, radius_px=12, mode="max_cardinality").counts() == DetectionCounts(2, 0, 0)


@settings(deadline=None, max_examples=60)
@given(truth=points, found=points)
def test_largest_matching_is_as_large_as_possible_and_then_closest(truth, found):
    near = cdist(truth, found) <= 6 if len(truth) and len(found) else np.zeros((len(truth), len(found)), bool)
    match = match_centroids(truth, found, radius_px=6, mode="max_cardinality")
    size = int((maximum_bipartite_matching(csr_matrix(near), perm_type="column") >= 0).sum()) if near.size else 0
    assert match.counts().tp == size
    assert match.counts().tp >= match_centroids(truth, found, radius_px=6).counts().tp
    assert len(set(match.found.tolist())) == size
    assert all(near[t, f] for t, f in zip(match.truth, match.found, strict=True))


@settings(deadline=None, max_examples=60)
@given(gain=arrays.arrays(np.float64, (6, 7), elements=st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 1.5])))
def test_assignment_in_groups_gains_as_much_as_on_the_whole_matrix(gain):
    rows, columns = np.nonzero(gain)
    chosen = assign(rows, columns, gain[rows, columns], gain.shape)
    best = gain[linear_sum_assignment(gain, maximize=True)].sum()
    assert gain[rows, columns][chosen].sum() == pytest.approx(best)
    assert len(set(rows[chosen])) == len(set(columns[chosen])) == chosen.sum()


def test_ratios():
    counts = DetectionCounts(6, 2, 4) + DetectionCounts(0, 0, 2)
    assert (counts.precision, counts.recall) == (0.75, 0.5)
    assert counts.f1 == pytest.approx(0.6)
    assert np.isnan(DetectionCounts(0, 0, 0).f1)


def test_class_counts_follow_hovernet():
    truth = on_line(0, 100, 200, 300, 400)
    found = on_line(1, 101, 201, 600)
    match = match_centroids(truth, found, radius_px=12)
    one, two = class_detection_counts(match, np.array([1, 1, 2, 1, 2]), np.array([1, 2, 1, 1]), n_classes=2)
    assert one == ClassDetectionCounts(tp=1, fp=1, fn=1, fp_unmatched=1, fn_unmatched=1)
    assert two == ClassDetectionCounts(tp=0, fp=1, fn=1, fp_unmatched=0, fn_unmatched=1)
    assert one.f1 == 2 / (2 + 2 + 2 + 1 + 1)
    assert (one.precision, one.recall) == (1 / 4, 1 / 4)
    assert (one + two).fp == 2


def test_a_pair_of_unknown_true_class_is_left_out_of_the_classes():
    match = match_centroids(on_line(0, 100), on_line(0, 100), radius_px=12)
    args = (match, np.array([0, 1]), np.array([1, 1]))
    assert class_detection_counts(*args, n_classes=1) == (ClassDetectionCounts(1, 0, 0, 0, 0),)
    assert class_detection_counts(*args, n_classes=1, unknown="count") == (ClassDetectionCounts(1, 1, 0, 0, 0),)
    assert match.counts() == DetectionCounts(2, 0, 0)


@pytest.mark.parametrize("mode", ["hovernet", "max_cardinality"])
def test_empty_images_are_counted_exactly(mode):
    none, two = np.empty((0, 2)), on_line(0, 50)
    assert match_centroids(none, two, radius_px=12, mode=mode).counts() == DetectionCounts(0, 2, 0)
    assert match_centroids(two, none, radius_px=12, mode=mode).counts() == DetectionCounts(0, 0, 2)
    assert match_centroids(none, none, radius_px=12, mode=mode).counts() == DetectionCounts(0, 0, 0)


def test_hovernets_stand_in_point_makes_hits_out_of_nothing():
    none = (np.empty((0, 2)), np.empty(0, np.int64))
    (truth, _), (found, _) = hovernet_points(*none), hovernet_points(*none)
    assert match_centroids(truth, found, radius_px=12).counts() == DetectionCounts(1, 0, 0)
    far = on_line(50)
    assert match_centroids(hovernet_points(*none)[0], far, radius_px=12).counts() == DetectionCounts(0, 1, 1)
    assert hovernet_points(far, np.array([2]))[0] is far


def test_wrong_options_are_refused():
    with pytest.raises(UnknownNameError, match="matching mode"):
        match_centroids(on_line(0), on_line(0), radius_px=12, mode="greedy")
    with pytest.raises(InputError, match="above 0"):
        match_centroids(on_line(0), on_line(0), radius_px=0)


def test_rightly_called_nuclei_of_other_classes_are_hits_only_where_asked_for():
    match = match_centroids(on_line(0, 10, 20, 30), on_line(0, 10, 20, 30), radius_px=3)
    truth, found = np.array([1, 1, 2, 0]), np.array([1, 2, 2, 0])
    for unknown in ("skip", "count"):
        for others_right, hits in (("ignore", [1, 1]), ("count", [2, 2])):
            counts = class_detection_counts(
                match, truth, found, n_classes=2, unknown=unknown, others_right=others_right
            )
            assert [c.tp for c in counts] == hits
            assert [(c.fp, c.fn) for c in counts] == [(0, 1), (1, 0)]
