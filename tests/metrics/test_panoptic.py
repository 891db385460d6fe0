import numpy as np
import pytest

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.metrics.panoptic import (
    PanopticCounts,
    mpq_plus,
    panoptic_counts,
    panoptic_counts_by_class,
    panoptic_quality,
)
from histocyte.statistics.averages import mean_over_groups, nan_mean

STRIP = np.array([[1, 1, 1, 0, 2, 2, 2, 0]], np.int32)


@pytest.mark.parametrize(
    ("convention", "empty_truth", "empty_both"),
    [
        ("plain", 0.0, np.nan),
        ("hovernet", 0.0, np.nan),
        ("pannuke", np.nan, np.nan),
        ("cellvit", np.nan, np.nan),
        ("conic", 0.0, 0.0),
    ],
)
def test_conventions_differ_in_empty_images(convention, empty_truth, empty_both):
    np.testing.assert_equal(float(PanopticCounts(0, 3, 0, 0.0).quality(convention).pq), empty_truth)
    np.testing.assert_equal(float(PanopticCounts(0, 0, 0, 0.0).quality(convention).pq), empty_both)
    assert PanopticCounts(0, 0, 2, 0.0).quality(convention).pq == 0


@pytest.mark.parametrize(
    ("convention", "dq", "sq"),
    [
        ("plain", 4 / 6, 0.8),
        ("hovernet", 4 / 6, 3.2 / 4.000001),
        ("pannuke", 4 / 6, 3.2 / 4.000001),
        ("cellvit", 4 / 6.000001, 3.2 / 4.000001),
        ("conic", 4 / 6.000001, 3.2 / 4.000001),
    ],
)
def test_conventions_differ_in_their_epsilons(convention, dq, sq):
    quality = PanopticCounts(4, 3, 1, 3.2).quality(convention)
    np.testing.assert_allclose(quality, (dq, sq, dq * sq), rtol=1e-14)


def test_quality_takes_counts_of_any_shape():
    quality = panoptic_quality([1, 0], [0, 2], [0, 0], [0.7, 0.0], convention="pannuke")
    np.testing.assert_allclose(quality.pq, [0.7 / 1.000001, np.nan])


def test_unknown_convention_is_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'pannuke'"):
        panoptic_quality(1, 0, 0, 1, convention="panuke")


def test_counts_add_up():
    assert PanopticCounts(1, 2, 3, 0.5) + PanopticCounts(4, 5, 6, 0.25) == PanopticCounts(5, 7, 9, 0.75)


def test_ids_may_have_gaps_and_be_huge():
    huge = np.where(STRIP == 1, 7, np.where(STRIP == 2, 2**31 - 1, 0)).astype(np.int32)
    counts = panoptic_counts(huge, STRIP)
    assert (counts.tp, counts.pq) == (2, 1)
    assert panoptic_counts(np.where(huge > 0, huge, 2**30), STRIP).fn == 1  # no background at all


def test_many_instances_are_counted_by_sorting_as_by_a_table():
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.arange(1, 2501)).reshape(50, 50)
    counts = panoptic_counts(truth, np.where(rng.random((50, 50)) < 0.5, truth, 0))
    assert counts.fp == 0
    assert counts.tp + counts.fn == 2500
    assert counts.iou_sum == counts.tp


def test_low_threshold_assigns_one_to_one():
    truth = np.array([[1, 1, 1, 1, 2, 2, 2, 2]], np.int32)
    found = np.array([[0, 1, 1, 1, 1, 1, 0, 0]], np.int32)  # IoU 3/6 and 2/7
    counts = panoptic_counts(truth, found, iou=0.2)
    assert (counts.tp, counts.fp, counts.fn) == (1, 0, 1)
    assert counts.iou_sum == 0.5
    assert panoptic_counts(np.array([[1] * 9 + [0]]), np.array([[0] * 8 + [1, 1]]), iou=0.2).tp == 0


def test_unknown_class_in_the_truth_is_neither_missed_nor_falsely_found():
    counts = panoptic_counts_by_class(STRIP, np.array([0, 1, 0]), STRIP, np.array([0, 1, 1]), n_classes=1)
    assert counts == (PanopticCounts(1, 0, 0, 1.0),)
    missed = panoptic_counts_by_class(STRIP, np.array([0, 1, 0]), 0 * STRIP, np.array([0]), n_classes=1)
    assert missed == (PanopticCounts(0, 0, 1, 0.0),)


def test_mpq_plus_leaves_out_or_punishes_absent_classes():
    counts = (PanopticCounts(2, 0, 0, 1.6), PanopticCounts(0, 0, 0, 0.0))
    assert mpq_plus(counts)[0] == pytest.approx(0.8, abs=1e-5)
    assert mpq_plus(counts, absent="zero")[0] == pytest.approx(0.4, abs=1e-5)


@pytest.mark.parametrize(
    ("truth", "found", "says"),
    [
        (STRIP, STRIP[:, :4], "differ in shape"),
        (STRIP.astype(float), STRIP, "integers"),
        (-STRIP, STRIP, "negative"),
    ],
)
def test_wrong_maps_are_refused(truth, found, says):
    with pytest.raises(InputError, match=says):
        panoptic_counts(truth, found)


def test_missing_classes_are_refused():
    with pytest.raises(InputError, match="result names 1 instances"):
        panoptic_counts_by_class(STRIP, np.array([0, 1, 1]), STRIP, np.array([0, 1]), n_classes=1)


def test_means_skip_what_is_undefined():
    assert nan_mean([1.0, np.nan, 3.0]) == 2
    assert np.isnan(nan_mean([np.nan]))
    mean, by_tissue = mean_over_groups([1.0, np.nan, 0.0, 0.5, np.nan], ["skin", "skin", "liver", "liver", "lung"])
    np.testing.assert_equal(by_tissue, {"liver": 0.25, "lung": np.nan, "skin": 1.0})
    assert mean == 0.625
