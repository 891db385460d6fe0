"""How well two counts of the same things agree: Bland–Altman, intraclass correlation, Lin's concordance.

Pure functions of two (n,) columns, or of an (n, k) table with a row a subject (square, region, slide) and a column a
rater (tool, reader, model). Intervals are the closed ones of the papers: they take subjects as independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from histocyte.core.errors import InputError

__all__ = ["BlandAltman", "Interval", "bland_altman", "concordance", "intraclass_correlation"]

_ROUNDING = 1e-12
"""A sum of squares below this share of the whole is a zero that rounding has missed."""


class Interval(NamedTuple):
    """A figure and its confidence interval; NaN where undefined."""

    value: float
    low: float
    high: float


_UNDEFINED = Interval(np.nan, np.nan, np.nan)


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Differences of two columns, second less first.

    Attributes:
        n: Subjects.
        bias: Mean difference.
        sd: Standard deviation of the differences; NaN for fewer than two subjects.
        lower: Limit of agreement below: bias - 1.96 sd.
        upper: Limit of agreement above.
        slope: Proportional bias: how much the difference grows for each one that the mean of both grows.
        slope_p: Two-sided p-value of a slope of zero.
        intercept: Difference on that line where the mean is zero.
    """

    n: int
    bias: Interval
    sd: float
    lower: Interval
    upper: Interval
    slope: Interval
    slope_p: float
    intercept: float


def bland_altman(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> BlandAltman:
    """Bias and limits of agreement between two columns of one count a subject.

    The limits hold 95 % of the differences if those are normal. Their own interval is the approximate one of Bland
    and Altman (1999, Stat Methods Med Res 8:135, doi 10.1177/096228029900800204), with the standard error
    sd √(1/n + 1.96² / 2(n - 1)). The slope is that of the differences on the means by least squares (same paper, §3.2).

    Args:
        first: (n,) counts of the reference.
        second: (n,) counts of what is compared with it.
        level: Level of the confidence intervals.

    Raises:
        InputError: The columns differ in length.
    """
    table = _table([first, second])
    n, difference, mean = len(table), table[:, 1] - table[:, 0], table.mean(axis=1)
    if n < 2:
        only = Interval(float(difference[0]), np.nan, np.nan) if n else _UNDEFINED
        return BlandAltman(n, only, np.nan, _UNDEFINED, _UNDEFINED, _UNDEFINED, np.nan, np.nan)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    reach = 1.96 * sd
    t = special.stdtrit(n - 1, (1 + level) / 2)
    at_bias, at_limit = t * sd / np.sqrt(n), t * sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    slope, slope_p, intercept = _line(mean, difference, level)
    return BlandAltman(
        n,
        Interval(bias, bias - at_bias, bias + at_bias),
        sd,
        Interval(bias - reach, bias - reach - at_limit, bias - reach + at_limit),
        Interval(bias + reach, bias + reach - at_limit, bias + reach + at_limit),
        slope,
        slope_p,
        intercept,
    )


def _line(x: NDArray[np.float64], y: NDArray[np.float64], level: float) -> tuple[Interval, float, float]:
    """Slope, its p-value and the intercept by least squares; undefined for a constant x or under three points."""
    n, spread = len(x), float(((x - x.mean()) ** 2).sum())
    if n < 3 or spread <= _ROUNDING * float((x**2).sum()):
        return _UNDEFINED, np.nan, np.nan
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread)
    intercept = float(y.mean() - slope * x.mean())
    residual = float(((y - intercept - slope * x) ** 2).sum())
    if residual <= _ROUNDING * float((y**2).sum()):
        return Interval(slope, slope, slope), 1.0 if slope == 0 else 0.0, intercept
    error = np.sqrt(residual / (n - 2) / spread)
    reach = special.stdtrit(n - 2, (1 + level) / 2) * error
    p = 2 * special.stdtr(n - 2, -abs(slope) / error)
    return Interval(slope, float(slope - reach), float(slope + reach)), float(p), intercept


def intraclass_correlation(
    table: ArrayLike, *, kind: Literal["agreement", "consistency"] = "agreement", level: float = 0.95
) -> Interval:
    """Reliability of one rater's count: the share of the variance that is the subjects' own.

    "agreement" is ICC(2,1) of Shrout and Fleiss (1979, Psychol Bull 86:420, doi 10.1037/0033-2909.86.2.420), where a
    rater who counts more than another costs; "consistency" is ICC(3,1), where it does not. Intervals after McGraw and
    Wong (1996, Psychol Methods 1:30, doi 10.1037/1082-989X.1.1.30), ICC(A,1) and ICC(C,1). May be below 0.

    Args:
        table: (n, k) counts of n subjects by k raters.
        kind: Which of the two.
        level: Level of the confidence interval.

    Returns:
        NaN for fewer than two subjects or raters, or where nothing varies.

    Raises:
        InputError: Not a table.
    """
    values = np.asarray(table, np.float64)
    if values.ndim != 2:
        raise InputError(f"An intraclass correlation needs a table (subjects, raters), not {values.shape}.")
    n, k = values.shape
    if n < 2 or k < 2:
        return _UNDEFINED
    rows, columns, rest = _mean_squares(values)
    if rows == columns == rest == 0 or (kind == "consistency" and rows == rest == 0):
        return _UNDEFINED
    if kind == "consistency":
        return _consistency(rows, rest, n, k, level)
    return _agreement(rows, columns, rest, n, k, level)


def _mean_squares(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Between subjects, between raters, and the rest, of a two-way table without repeats."""
    n, k = values.shape
    centred = values - values.mean()
    by_row, by_column = centred.mean(axis=1), centred.mean(axis=0)
    sums = np.array(
        [
            k * (by_row**2).sum(),
            n * (by_column**2).sum(),
            ((centred - by_row[:, None] - by_column[None]) ** 2).sum(),
        ]
    )
    # Against the values themselves: a constant count of 1/3 leaves dust in each of the sums.
    sums[sums <= _ROUNDING * float((values**2).sum())] = 0.0
    rows, columns, rest = (sums / [n - 1, k - 1, (n - 1) * (k - 1)]).tolist()
    return rows, columns, rest


def _consistency(rows: float, rest: float, n: int, k: int, level: float) -> Interval:
    value = (rows - rest) / (rows + (k - 1) * rest)
    if rest == 0:
        return Interval(1.0, 1.0, 1.0)
    ratio, above = rows / rest, (1 + level) / 2
    low = ratio / special.fdtri(n - 1, (n - 1) * (k - 1), above)
    high = ratio * special.fdtri((n - 1) * (k - 1), n - 1, above)
    return Interval(value, float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1)))


def _agreement(rows: float, columns: float, rest: float, n: int, k: int, level: float) -> Interval:
    value = (rows - rest) / (rows + (k - 1) * rest + k * (columns - rest) / n)
    if columns == rest == 0:
        return Interval(1.0, 1.0, 1.0)
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    error = (a * columns) ** 2 / (k - 1) + (b * rest) ** 2 / ((n - 1) * (k - 1))
    freedom = (a * columns + b * rest) ** 2 / error if error > 0 else 0.0
    if not freedom > 0:
        return Interval(value, np.nan, np.nan)
    above = (1 + level) / 2
    f_low, f_high = special.fdtri(n - 1, freedom, above), special.fdtri(freedom, n - 1, above)
    others = k * columns + (k * n - k - n) * rest
    low = n * (rows - f_low * rest) / (f_low * others + n * rows)
    high = n * (f_high * rows - rest) / (others + n * f_high * rows)
    return Interval(value, float(low), float(high))


def concordance(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> Interval:
    """Lin's concordance: how near the pairs lie to the line of equality.

    Lin (1989, Biometrics 45:255, doi 10.2307/2532051), with the interval by Fisher's z and the variance as corrected
    in 2000 (Biometrics 56:324).

    Args:
        first: (n,) counts.
        second: (n,) counts of the same subjects.
        level: Level of the confidence interval.

    Returns:
        NaN for fewer than two subjects or where neither column varies and both are equal; the interval is NaN for
        fewer than three subjects, or where one column does not vary.

    Raises:
        InputError: The columns differ in length.
    """
    x, y = _table([first, second]).T
    n = len(x)
    if n < 2:
        return _UNDEFINED
    gap = float(x.mean() - y.mean())
    spread_x, spread_y = _variance(x), _variance(y)
    covariance = float(((x - x.mean()) * (y - y.mean())).mean()) if spread_x > 0 and spread_y > 0 else 0.0
    whole = spread_x + spread_y + gap**2
    if whole == 0:
        return _UNDEFINED
    value = 2 * covariance / whole
    if np.array_equal(x, y):
        return Interval(1.0, 1.0, 1.0)
    if n < 3 or covariance == 0:
        return Interval(value, np.nan, np.nan)
    r = covariance / np.sqrt(spread_x * spread_y)
    u2 = gap**2 / np.sqrt(spread_x * spread_y)
    unlike = 1 - value**2
    variance = (
        (1 - r**2) * value**2 / (unlike * r**2)
        + 2 * value**3 * (1 - value) * u2 / (r * unlike**2)
        - value**4 * u2**2 / (2 * r**2 * unlike**2)
    ) / (n - 2)
    reach = special.ndtri((1 + level) / 2) * np.sqrt(max(variance, 0.0))
    low, high = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
    return Interval(value, float(low), float(high))


def _variance(x: NDArray[np.float64]) -> float:
    """Variance of all values (divided by n, as in the paper), 0 for a constant."""
    variance = float(x.var())
    return variance if variance > _ROUNDING * float((x**2).mean()) else 0.0


def _table(columns: list[ArrayLike]) -> NDArray[np.float64]:
    """(n, k) of columns of one length."""
    arrays = [np.asarray(column, np.float64) for column in columns]
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1:
        raise InputError(f"Counts to compare must be one a subject on both sides, not of shapes {sorted(shapes)}.")
    return np.stack(arrays, axis=1)
