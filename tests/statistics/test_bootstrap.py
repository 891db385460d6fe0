import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.metrics.counts import r_squared
from histocyte.statistics.bootstrap import (
    LEAST_GROUPS,
    Estimate,
    Score,
    bootstrap_weights,
    estimate,
    estimate_each,
    weighted_mean,
    weighted_pool,
    weighted_r_squared,
    weighted_strata_mean,
)
from histocyte.statistics.paired import PairedResamples

ALONE = [""] * 60


def test_each_resample_draws_as_many_as_there_are():
    weights = bootstrap_weights(ALONE, replicates=200, seed=1)
    assert weights.shape == (200, 60)
    assert (weights.sum(axis=1) == 60).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(ALONE, replicates=200, seed=1))
    assert (weights != bootstrap_weights(ALONE, replicates=200, seed=2)).any()


def test_a_patients_images_are_drawn_together():
    weights = bootstrap_weights(["a", "b", "a", "", "", "b"], replicates=50)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 5])
    assert (weights[:, 3] != weights[:, 4]).any()
    np.testing.assert_array_equal(weights[:, [0, 1, 3, 4]].sum(axis=1), 4)


def test_interval_is_that_of_resampling_one_by_one():
    values = np.random.default_rng(0).normal(5, 2, 60)
    result = estimate(weighted_mean(values), bootstrap_weights(ALONE, replicates=4000))
    rng = np.random.default_rng(3)
    plain = [values[rng.integers(0, 60, 60)].mean() for _ in range(4000)]
    assert result.value == pytest.approx(values.mean())
    np.testing.assert_allclose([result.low, result.high], np.quantile(plain, [0.025, 0.975]), atol=0.05)
    assert (result.n, result.dropped) == (60, 0)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    studies = np.random.default_rng(100).normal(size=(60, 2000))
    intervals = estimate_each(weighted_mean(studies), bootstrap_weights(ALONE, replicates=2000))
    assert 0.93 < np.mean([i.low <= 0 <= i.high for i in intervals]) < 0.96


def test_images_of_one_patient_that_are_alike_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=12), 5)
    patients = [str(i) for i in np.repeat(np.arange(12), 5)]
    alone = estimate(weighted_mean(values), bootstrap_weights(ALONE))
    together = estimate(weighted_mean(values), bootstrap_weights(patients))
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_undefined_replicates_are_dropped_and_counted():
    values = np.array([0.5] * LEAST_GROUPS + [np.nan] * 25)
    weights = bootstrap_weights([""] * 30, replicates=500)
    result = estimate(weighted_mean(values), weights, defined=~np.isnan(values))
    assert result.dropped == int((weights[:, :LEAST_GROUPS].sum(axis=1) == 0).sum()) > 0
    assert (result.value, result.low, result.high, result.n) == (0.5, 0.5, 0.5, 5)
    nothing = estimate(weighted_mean(np.full(30, np.nan)), weights)
    assert nothing.to_json() == {"value": None, "low": None, "high": None, "n": 30, "dropped": 500}


@pytest.mark.parametrize("patients", [1, 2, 4])
def test_fewer_than_five_patients_give_no_interval_however_many_images_they_have(patients):
    values = np.linspace(0.2, 0.4, 40)
    groups = [str(i % patients) for i in range(40)]
    result = estimate(weighted_mean(values), bootstrap_weights(groups))
    assert result.value == pytest.approx(0.3)
    assert np.isnan([result.low, result.high]).all()
    five = estimate(weighted_mean(values), bootstrap_weights([str(i % 5) for i in range(40)]))
    assert five.low < 0.3 < five.high


def test_the_patients_that_have_a_score_count_not_those_of_the_set():
    # The second score is of two patients' images alone, as of a rare class.
    values = np.stack([np.linspace(0, 1, 40), np.where(np.arange(40) % 20 < 2, np.linspace(0, 1, 40), np.nan)], axis=1)
    groups = [str(i % 20) for i in range(40)]
    common, rare = Score.mean(values).estimate_each(bootstrap_weights(groups))
    assert common.low < common.value < common.high
    assert (rare.n, np.isnan(rare.value), np.isnan(rare.low)) == (4, False, True)


def test_a_paired_difference_follows_the_same_rule():
    values = np.concatenate([np.linspace(0.2, 0.4, 8), np.linspace(0.3, 0.6, 8)])
    for patients, told in ((2, False), (4, False), (8, True)):
        resamples = PairedResamples.of([str(i % patients) for i in range(8)], replicates=200, seed=0)
        (found,) = resamples.differences(Score.mean(values[:, None]))
        assert found.difference.value == pytest.approx(0.15)
        ends = [e.low for e in (found.first, found.second, found.difference)]
        assert (~np.isnan(ends)).tolist() == [told] * 3


def test_pooled_scores_sum_before_they_divide():
    counts = np.array([[1.0, 2], [8, 8]])
    statistic = weighted_pool(counts, lambda t: t[:, 0] / t[:, 1])
    np.testing.assert_allclose(statistic(np.array([[1.0, 1], [2, 0]])), [0.9, 0.5])


def test_several_scores_at_once():
    values = np.array([[1.0, np.nan], [3.0, 5.0]])
    first, second = estimate_each(weighted_mean(values), bootstrap_weights(["", ""]), defined=~np.isnan(values))
    assert (first.value, first.n, second.value, second.n) == (2, 2, 5, 1)


def test_strata_weigh_the_same_whatever_their_size():
    values = np.array([0.0, 0.0, 0.0, 1.0, np.nan])
    statistic = weighted_strata_mean(values, ["a", "a", "a", "b", "c"])
    np.testing.assert_allclose(
        statistic(np.array([[1.0, 1, 1, 1, 1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 1]])), [0.5, 0, np.nan]
    )


def test_r_squared_under_weights_is_that_of_the_drawn_images():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 40, (12, 3))
    truth[:, 2] = 7
    found = truth + rng.integers(-3, 4, (12, 3))
    weights = bootstrap_weights([""] * 12, replicates=20)
    for row, ours in zip(weights.astype(int), weighted_r_squared(truth, found)(weights), strict=True):
        drawn = np.repeat(np.arange(12), row)
        np.testing.assert_allclose(ours, r_squared(truth[drawn], found[drawn], constant="undefined"))


def test_no_replicates_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        bootstrap_weights(ALONE, replicates=0)
    assert Estimate(0.5, float("nan"), 0.6, 2).to_json()["low"] is None


def test_r_squared_of_few_images_has_no_interval():
    truth = np.arange(20, 20 + 6 * 12, 6)[:, None]
    found = truth + np.tile([1, -2, 3], 4)[:, None]

    def interval(n, groups=None, *, swings=True):
        score = Score(weighted_r_squared(truth[:n], found[:n]), np.ones((n, 1), np.bool_), swings)
        return score.estimate_each(bootstrap_weights(groups or [""] * n))[0]

    assert np.isnan(interval(9).low)
    assert interval(9).value > 0.9
    assert not np.isnan(interval(9, swings=False).low)
    assert 0.5 < interval(10).low < interval(10).high <= 1
    # Twelve images of six patients are six, not twelve.
    assert np.isnan(interval(12, ["a", "b", "c", "d", "e", "f"] * 2).low)


def test_r_squared_of_a_class_that_few_images_have_has_no_interval():
    weights = bootstrap_weights([""] * 30)
    for images, known in ((2, False), (6, True)):
        truth = np.zeros((30, 1), np.int64)
        truth[:images, 0] = np.arange(images) + 3
        score = Score(weighted_r_squared(truth, truth), np.ones((30, 1), np.bool_), swings=True)
        (found,) = score.estimate_each(weights)
        assert (found.value, np.isnan(found.low)) == (1, not known)
