import numpy as np
import pytest

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.metrics.calibration import FINE_BINS, calibration_counts, merge_bins


def two_classes(confidence, right):
    """Nuclei called class 0 with the given probability; class 1 is the truth where the call is wrong."""
    confidence = np.asarray(confidence, np.float64)
    return np.stack([confidence, 1 - confidence], axis=1), np.where(right, 0, 1)


def plain_error(probabilities, truth, edges):
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    error = 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.sum() / len(truth) * abs(right[inside].mean() - confidence[inside].mean())
    return error


def drawn(n=4000, k=4, seed=0):
    """Nuclei whose true class is drawn by the stated probabilities: calibrated by construction."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 0.5), n)
    truth = (p.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=k - 1)
    return p, truth


def test_bins_and_error_by_hand():
    counts = calibration_counts(*two_classes([0.62, 0.64, 0.96, 0.98, 1.0], [True, False, True, True, True]))
    bins = counts.bins(10)
    assert bins.n.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 3]
    assert bins.confidence[6] == pytest.approx(0.63)
    assert (bins.accuracy[6], bins.accuracy[9]) == (0.5, 1)
    assert np.isnan(bins.accuracy[:6]).all()
    assert counts.error(10) == pytest.approx((2 * 0.13 + 3 * 0.02) / 5)
    assert counts.error(10, norm="max") == pytest.approx(0.13)
    assert counts.error(10, norm="l2") == pytest.approx(np.sqrt((2 * 0.13**2 + 3 * 0.02**2) / 5))
    # Of equal filling: 0.62 and 0.64 alone in theirs.
    assert counts.error(5, spacing="mass") == pytest.approx((0.38 + 0.64 + 0.04 + 0.02 + 0) / 5)


def test_a_bin_holds_its_upper_edge():
    counts = calibration_counts(*two_classes([0.6, 0.6 + 1e-9], [True, True]))
    assert np.flatnonzero(counts.bins(10).n).tolist() == [5, 6]


@pytest.mark.parametrize("n_bins", [10, 15, 20])
def test_error_of_equal_width_is_that_of_the_plain_loop(n_bins):
    p, truth = drawn(400)
    assert calibration_counts(p, truth).error(n_bins) == pytest.approx(
        plain_error(p, truth, np.linspace(0, 1, n_bins + 1)), abs=1e-12
    )


def test_error_of_equal_mass_is_near_that_of_quantile_bins():
    p, truth = drawn()
    sharper = p**2 / (p**2).sum(axis=1, keepdims=True)
    edges = np.quantile(sharper.max(axis=1), np.linspace(0, 1, 11))
    edges[0] = 0
    counts = calibration_counts(sharper, truth)
    assert counts.error(10, spacing="mass") == pytest.approx(plain_error(sharper, truth, edges), abs=0.005)
    assert counts.error(10, spacing="mass") > 0.05
    filled = counts.bins(10, spacing="mass").n
    assert filled.min() > 0.5 * len(truth) / 10


def test_calibrated_probabilities_have_a_small_error_and_sharpened_ones_a_large():
    p, truth = drawn()
    sharper = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert calibration_counts(p, truth).error() < 0.03
    assert calibration_counts(sharper, truth).error() > 0.08
    assert calibration_counts(sharper, truth).brier() > calibration_counts(p, truth).brier()


def test_brier_score_by_hand():
    p = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    counts = calibration_counts(p, np.array([0, 2]))
    np.testing.assert_allclose(counts.squared_error, [0.25, 0.09 + 1, 0.04 + 1])
    assert counts.brier() == pytest.approx((0.25 + 0.09 + 0.04 + 2) / 2)
    assert counts.brier("half") == pytest.approx(counts.brier() / 2)
    assert counts.brier("mean") == pytest.approx(counts.brier() / 3)


def test_counts_of_images_add_up():
    p, truth = drawn(100)
    parts = calibration_counts(p[:30], truth[:30]) + calibration_counts(p[30:], truth[30:])
    whole = calibration_counts(p, truth)
    np.testing.assert_allclose(parts.table, whole.table)
    assert parts.brier() == pytest.approx(whole.brier())
    assert whole.n == 100


@pytest.mark.parametrize("spacing", ["width", "mass"])
def test_resamples_are_binned_apart(spacing):
    tables = np.stack([calibration_counts(*drawn(50, seed=s)).table for s in range(3)])
    together = merge_bins(tables, 10, spacing=spacing)
    for table, *columns in zip(tables, *together, strict=True):
        for ours, alone in zip(columns, merge_bins(table, 10, spacing=spacing), strict=True):
            np.testing.assert_allclose(ours, alone)


def test_without_nuclei_nothing_is_defined():
    counts = calibration_counts(np.zeros((0, 3)), np.zeros(0, int))
    assert counts.n == 0
    assert np.isnan([counts.error(), counts.error(spacing="mass"), counts.brier()]).all()


def test_wrong_input_is_refused():
    p, truth = drawn(5)
    with pytest.raises(InputError, match="5 rows"):
        calibration_counts(p, truth[:2])
    with pytest.raises(InputError, match="in 0 to 1"):
        calibration_counts(p * 3, truth)
    with pytest.raises(InputError, match="in 0 to 1"):
        calibration_counts(p * np.nan, truth)
    with pytest.raises(InputError, match="there are 4"):
        calibration_counts(p, truth + 4)
    counts = calibration_counts(p, truth)
    with pytest.raises(InputError, match="7 reliability bins"):
        counts.bins(7)
    assert counts.bins(7, spacing="mass").n.sum() == 5
    assert FINE_BINS % 15 == 0
    for call in (lambda: counts.bins(spacing="odd"), lambda: counts.error(norm="odd"), lambda: counts.brier("odd")):
        with pytest.raises(UnknownNameError):
            call()
