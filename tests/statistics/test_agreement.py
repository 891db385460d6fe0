import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.statistics.agreement import bland_altman, concordance, intraclass_correlation

# Shrout & Fleiss (1979), table 2: six targets rated by four judges; the coefficients are those of their table 4.
RATINGS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]

# Bland & Altman (1986, Lancet i:307): peak flow by a large and a mini meter, first readings of 17 subjects.
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def test_intraclass_correlations_of_shrout_and_fleiss():
    agreement = intraclass_correlation(RATINGS)
    consistency = intraclass_correlation(RATINGS, kind="consistency")
    assert (round(agreement.value, 2), round(consistency.value, 2)) == (0.29, 0.71)
    # Intervals: R's psych::ICC on the same table.
    assert agreement[1:] == pytest.approx((0.019, 0.76), abs=0.005)
    assert consistency[1:] == pytest.approx((0.34, 0.95), abs=0.005)


def test_limits_of_agreement_of_the_peak_flow_meters():
    found = bland_altman(MINI, LARGE)
    assert found.n == 17
    assert found.bias == pytest.approx((-2.1, -22.0, 17.8), abs=0.1)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    # The paper rounds 1.96 to 2 and 1/n + 1.96²/2(n-1) to 3/n: limits -79.7 (-114.3 to -45.1) and 75.5 (40.9 to 110.1).
    assert found.lower == pytest.approx((-79.7, -114.3, -45.1), abs=2.5)
    assert found.upper == pytest.approx((75.5, 40.9, 110.1), abs=2.5)
    assert (found.lower.value + found.upper.value) / 2 == pytest.approx(found.bias.value)
    assert found.slope_p > 0.05


def test_a_constant_offset_costs_agreement_and_not_consistency():
    first = np.array([1.0, 4, 2, 8, 5, 7])
    table = np.stack([first, first + 3], axis=1)
    assert intraclass_correlation(table, kind="consistency") == (1, 1, 1)
    agreement = intraclass_correlation(table)
    assert 0 < agreement.low < agreement.value < agreement.high < 1
    found = bland_altman(first, first + 3)
    assert found.bias == found.lower == found.upper == (3, 3, 3)
    assert found.slope.value == pytest.approx(0)
    assert concordance(first, first + 3).value == pytest.approx(2 * first.var() / (2 * first.var() + 9))


def test_proportional_bias_is_a_slope():
    first = np.linspace(10, 100, 30)
    noise = np.tile([1.0, -1.0, 0.0], 10)
    found = bland_altman(first, 1.2 * first + noise)
    # d = 0.2 x and m = 1.1 x.
    assert found.slope.value == pytest.approx(0.2 / 1.1, abs=0.01)
    assert found.slope.low < 0.2 / 1.1 < found.slope.high
    assert found.slope_p < 1e-6


def test_perfect_agreement_and_its_opposite():
    first = np.array([1.0, 4, 2, 8])
    table = np.stack([first, first], axis=1)
    assert intraclass_correlation(table) == intraclass_correlation(table, kind="consistency") == (1, 1, 1)
    assert concordance(first, first) == (1, 1, 1)
    turned = 9 - first
    assert intraclass_correlation(np.stack([first, turned], axis=1)).value < -0.5
    assert concordance(first, turned).value < -0.5


@pytest.mark.parametrize("value", [0, 3, 1 / 3])
def test_what_never_varies_is_undefined_and_not_perfect(value):
    first = np.full(5, value)
    table = np.stack([first, first], axis=1)
    assert np.isnan(intraclass_correlation(table)).all()
    assert np.isnan(intraclass_correlation(table, kind="consistency")).all()
    assert np.isnan(concordance(first, first)).all()
    found = bland_altman(first, first)
    assert found.bias == (0, 0, 0)
    assert np.isnan(found.slope).all()


def test_one_column_that_never_varies():
    first, second = np.full(6, 2.0), np.array([1.0, 4, 2, 8, 5, 7])
    assert concordance(first, second).value == 0
    assert intraclass_correlation(np.stack([first, second], axis=1)).value < 0.2


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_subjects_give_nan_and_no_warning(n):
    first = np.arange(n, dtype=float)
    assert np.isnan(intraclass_correlation(np.zeros((n, 2)))).all()
    assert np.isnan(concordance(first, first)).all()
    found = bland_altman(first, first + 1)
    assert found.n == n
    assert np.isnan(found.lower).all()
    assert found.bias.value == 1 if n else np.isnan(found.bias.value)


def test_two_subjects_have_limits_and_no_slope():
    found = bland_altman([1, 2], [2, 5])
    assert np.isfinite(found.lower).all()
    assert np.isnan(found.slope).all()
    assert np.isnan(concordance([1, 2], [2, 5]).low)


def test_columns_of_different_length_are_refused():
    with pytest.raises(InputError, match="one a subject"):
        bland_altman([1, 2], [1])
    with pytest.raises(InputError, match="table"):
        intraclass_correlation([1, 2])


def test_intervals_hold_the_truth_as_often_as_they_say():
    # Two raters of unit error on subjects of variance 4: ICC and concordance are 0.8, the differences' sd is √2.
    generator = np.random.default_rng(0)
    held = np.zeros(5)
    for _ in range(400):
        table = generator.normal(0, 2, (40, 1)) + generator.normal(0, 1, (40, 2))
        found = bland_altman(*table.T)
        intervals = [intraclass_correlation(table), intraclass_correlation(table, kind="consistency")]
        intervals += [concordance(*table.T), found.bias, found.upper]
        truths = [0.8, 0.8, 0.8, 0, 1.96 * np.sqrt(2)]
        held += [low <= truth <= high for (_, low, high), truth in zip(intervals, truths, strict=True)]
    assert (held / 400 > 0.92).all()
    assert (held / 400 < 0.98).all()
