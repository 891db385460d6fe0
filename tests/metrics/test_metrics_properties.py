"""What every score of instances must obey, whatever the images (spec: golden and metamorphic cases)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from histocyte.metrics.aji import aji, aji_plus
from histocyte.metrics.detection import centroids, match_centroids
from histocyte.metrics.dice import dice, dice_ensemble
from histocyte.metrics.panoptic import panoptic_counts, panoptic_counts_by_class

SCORES = {
    "pq": lambda t, f: panoptic_counts(t, f).pq,
    "pq at 0.3": lambda t, f: panoptic_counts(t, f, iou=0.3).pq,
    "aji": aji,
    "aji+": aji_plus,
    "dice": dice,
    "dice ensemble": dice_ensemble,
    "f1": lambda t, f: detection(t, f).f1,
}

label_maps = arrays.arrays(np.int32, (9, 11), elements=st.integers(0, 6))


def detection(truth, found, **options):
    # A radius no distance between small pixel sets meets exactly.
    return match_centroids(centroids(truth)[1], centroids(found)[1], radius_px=3.0123, **options).counts()


def disc_pair(seed, shape=(96, 96), count=15):
    """Discs of many sizes, the later over the earlier, and the same moved a little; no two of their IoUs are alike."""
    rng = np.random.default_rng(seed)
    where, radii = rng.uniform(0, 96, (count, 2)), rng.uniform(4, 12, count)
    rows_columns = np.stack(np.indices(shape), axis=-1)
    pair = []
    for centres in (where, where + rng.normal(0, 2, where.shape)):
        labels = np.zeros(shape, np.int32)
        for i in range(count):
            labels[((rows_columns - centres[i]) ** 2).sum(axis=-1) < radii[i] ** 2] = i + 1
        pair.append(labels)
    return pair


def squares(*boxes, shape=(40, 60)):
    """Label map of boxes (row, column, height, width) numbered from 1."""
    labels = np.zeros(shape, np.int32)
    for i, (row, column, height, width) in enumerate(boxes, 1):
        labels[row : row + height, column : column + width] = i
    return labels


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("seed", range(5))
def test_ids_do_not_matter(name, seed):
    truth, found = disc_pair(seed)
    rng = np.random.default_rng(seed)
    truth_ids, found_ids = (np.append(0, rng.permutation(np.arange(1, 5000))[:15]) for _ in range(2))
    score = SCORES[name](truth, found)
    assert 0 < score < 1
    assert SCORES[name](truth_ids[truth], found_ids[found]) == pytest.approx(score, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(truth=label_maps, found=label_maps, ids=st.permutations(range(1, 7)))
def test_ids_do_not_matter_to_matches_even_in_a_muddle(truth, found, ids):
    before = panoptic_counts(truth, found)
    after = panoptic_counts(truth, np.array([0, *ids])[found])
    assert (after.tp, after.fp, after.fn) == (before.tp, before.fp, before.fn)
    assert after.iou_sum == pytest.approx(before.iou_sum)
    # Equally near centroids may be paired either way, but as many of them.
    options = {"mode": "max_cardinality"}
    assert detection(truth, np.array([0, *ids])[found], **options) == detection(truth, found, **options)


@pytest.mark.parametrize("name", SCORES)
@settings(deadline=None, max_examples=25)
@given(labels=label_maps, order=st.permutations(range(1, 7)))
def test_a_map_scores_1_against_itself_under_other_ids(name, labels, order):
    score = SCORES[name](labels, np.array([0, *order], np.int32)[labels])
    assert score == pytest.approx(1) if labels.any() and name != "dice ensemble" else np.isnan(score) or score <= 1


@pytest.mark.parametrize("name", SCORES)
@settings(deadline=None, max_examples=25)
@given(truth=label_maps, found=label_maps)
def test_scores_lie_between_0_and_1(name, truth, found):
    score = SCORES[name](truth, found)
    assert 0 <= score <= 1 or (np.isnan(score) and not truth.any() and not found.any())


@pytest.mark.parametrize("name", ["pq", "pq at 0.3", "aji+", "dice", "dice ensemble", "f1"])
@pytest.mark.parametrize("seed", range(5))
def test_symmetric_scores_do_not_care_which_map_is_the_truth(name, seed):
    truth, found = disc_pair(seed)
    np.testing.assert_allclose(SCORES[name](truth, found), SCORES[name](found, truth), atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(truth=label_maps, found=label_maps)
def test_turning_the_image_changes_nothing(truth, found):
    before, after = panoptic_counts(truth, found), panoptic_counts(np.rot90(truth), np.rot90(found))
    assert (before.tp, before.fp, before.fn) == (after.tp, after.fp, after.fn)
    assert before.iou_sum == pytest.approx(after.iou_sum)
    assert detection(truth, found, mode="max_cardinality") == detection(
        np.rot90(truth), np.rot90(found), mode="max_cardinality"
    )


@settings(deadline=None, max_examples=25)
@given(truth=label_maps, found=label_maps, types=st.lists(st.integers(1, 3), min_size=7, max_size=7))
def test_classes_share_out_the_instances(truth, found, types):
    counts = panoptic_counts_by_class(truth, np.array(types), found, np.array(types), n_classes=3)
    overall = panoptic_counts(truth, found)
    assert sum(c.tp + c.fn for c in counts) == overall.tp + overall.fn
    assert sum(c.tp + c.fp for c in counts) == overall.tp + overall.fp
    assert sum(c.tp for c in counts) <= overall.tp


def test_three_finds_in_an_empty_image():
    found = squares((2, 2, 5, 5), (12, 12, 5, 5), (22, 22, 5, 5))
    counts = panoptic_counts(np.zeros_like(found), found)
    assert np.isnan(counts.quality("pannuke").pq)
    assert counts.quality("conic").pq == counts.pq == 0
    assert detection(np.zeros_like(found), found).fp == 3


def test_two_halves_are_no_match():
    truth, halves = squares((4, 4, 8, 10)), squares((4, 4, 8, 5), (4, 9, 8, 5))
    counts = panoptic_counts(truth, halves)
    assert (counts.tp, counts.fp, counts.fn) == (0, 2, 1)


def test_a_merged_pair_matches_only_what_is_over_half_of_it():
    even, uneven = squares((4, 4, 8, 5), (4, 9, 8, 5)), squares((4, 4, 8, 6), (4, 10, 8, 4))
    merged = squares((4, 4, 8, 10))
    assert panoptic_counts(even, merged).tp == 0
    counts = panoptic_counts(uneven, merged)
    assert (counts.tp, counts.fp, counts.fn) == (1, 0, 1)
    assert counts.sq == pytest.approx(0.6)


def test_swapped_classes_leave_only_the_binary_score():
    labels = squares((2, 2, 6, 6), (20, 20, 6, 6))
    counts = panoptic_counts_by_class(labels, np.array([0, 1, 2]), labels, np.array([0, 2, 1]), n_classes=2)
    assert panoptic_counts(labels, labels).pq == 1
    assert [c.pq for c in counts] == [0, 0]


def test_aji_takes_the_best_of_two_for_each_truth_and_aji_plus_shares_them_out():
    # A found block lies over both truths; the second truth has a poor match of its own left over.
    truth = squares((0, 0, 10, 10), (0, 10, 10, 6))
    found = squares((0, 2, 10, 13), (0, 15, 10, 1))
    assert panoptic_counts(truth, found).tp == 1
    shared, second = 80, 50
    assert aji(truth, found) == pytest.approx((shared + second) / (150 + 140 + 10))
    assert aji_plus(truth, found) == pytest.approx((shared + 10) / (150 + 60))
