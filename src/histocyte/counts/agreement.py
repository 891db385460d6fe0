"""How well two results of one slide agree in their counts, over squares of a grid or the regions drawn on it.

Only what both searched is compared. Of squares the counts are compared, and only of squares at least half of which
both searched; regions differ in size, so of them the cells per mm² are. Differences are those of the second result
less the first. Intervals take squares (or regions) as independent: neighbours are alike, so they are too narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.names import counted
from histocyte.counts.count import ALL, GRID_UM, check_grid
from histocyte.counts.input import read_located
from histocyte.counts.pair import Subject, check_pair, count_in_subjects, shared_classes
from histocyte.counts.squares import resampled_sums
from histocyte.files.csv_file import write_rows
from histocyte.statistics.agreement import BlandAltman, Interval, bland_altman, concordance, intraclass_correlation
from histocyte.statistics.bootstrap import LEAST_GROUPS, LEAST_UNITS, MOST_UNDEFINED

__all__ = ["ClassAgreement", "CountAgreement", "agreement_of", "compare_counts", "r_squared_of"]

_DUST = 1e-12
"""A spread below this share of the sum of squares is a zero that rounding has missed."""

_FEW = 20
"""Below so many subjects limits of agreement and correlations say little (Bland and Altman advise 100)."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassAgreement:
    """Agreement of two results on one class; each figure rests on n = `bland_altman.n` subjects.

    Attributes:
        name: The class; "all" for all cells.
        totals: Cells of the first and of the second result in all subjects.
        values: (n, 2) count, or cells per mm², of each subject by the first and the second.
        bland_altman: Bias, limits of agreement and proportional bias, second less first.
        icc_agreement: ICC(2,1): a constant difference costs.
        icc_consistency: ICC(3,1): it does not.
        r2: 1 - Σ(first - second)² / Σ(first - mean of first)², interval by bootstrap over subjects.
        concordance: Lin's.
    """

    name: str
    totals: tuple[int, int]
    values: NDArray[np.float64]
    bland_altman: BlandAltman
    icc_agreement: Interval
    icc_consistency: Interval
    r2: Interval
    concordance: Interval


@dataclass(frozen=True, slots=True, eq=False)
class CountAgreement:
    """What `compare_counts` found.

    Attributes:
        first: Where the cells of the first result were read from.
        second: Name of the second.
        name: The slide's, or the file's.
        mpp: Level-0 resolution, µm/px.
        grid_um: Side of the squares; None where regions were compared.
        replicates: Resamples behind the interval of R².
        seed: Seed of the resamples.
        subjects: Squares or regions.
        classes: All cells first, then each class that both may have.
        notes: What a reader should know, in sentences.
    """

    first: Path
    second: Path
    name: str
    mpp: float
    grid_um: float | None
    replicates: int
    seed: int
    subjects: tuple[Subject, ...]
    classes: tuple[ClassAgreement, ...]
    notes: tuple[str, ...]

    @property
    def unit(self) -> str:
        """What is compared."""
        return "cells per mm²" if self.grid_um is None else "cells"

    @property
    def subjects_are(self) -> str:
        """What is counted in, in words."""
        return "regions" if self.grid_um is None else f"squares of {self.grid_um:g} µm"

    def to_json(self) -> dict[str, object]:
        """JSON-ready: `settings`, `classes` (figures as `{value, low, high, n}`), `subjects` with counts, `notes`.

        A figure is null where undefined. `subjects` has the counts or cells per mm² of each class by both results.
        """
        return {
            "format": "histocyte-count-agreement/1",
            "first": str(self.first),
            "second": str(self.second),
            "name": self.name,
            "settings": {
                "mpp": self.mpp,
                "grid_um": self.grid_um,
                "replicates": self.replicates,
                "seed": self.seed,
                "level": 0.95,
            },
            "subjects_are": "regions" if self.grid_um is None else "squares",
            "unit": self.unit,
            "difference": "second less first",
            "classes": [_class_json(c) for c in self.classes],
            "subjects": [
                {"name": s.name, "x": s.x, "y": s.y, "searched_mm2": s.searched_mm2}
                | {"values": {c.name: c.values[i].tolist() for c in self.classes}}
                for i, s in enumerate(self.subjects)
            ],
            "notes": list(self.notes),
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """What the columns of `tables` are."""
        return "figure", "value", "95 % interval"

    def tables(self, most: int | None = None) -> list[tuple[str, list[tuple[str, ...]]]]:
        """For each class a title and a row a figure: figure, value, interval; all text, and never many rows."""
        return [
            (
                f"{c.name}: {c.totals[0]:,} and {counted(c.totals[1], 'cell')} in n = {len(self.subjects)} "
                f"{self.subjects_are}, "
                f"differences in {self.unit}",
                list(figures_in_words(c)),
            )
            for c in self.classes
        ]

    def write_csv(self, path: Path) -> None:
        """Write a line a square or region, with each class by both results, whole or not at all.

        Raises:
            DiskError: The file could not be written.
        """
        columns = [f"{c.name} {which}" for c in self.classes for which in ("first", "second")]
        rows = [
            (s.name, f"{s.x:.2f}", f"{s.y:.2f}", f"{s.searched_mm2:.6g}")
            + tuple(f"{v:.6g}" for c in self.classes for v in c.values[i])
            for i, s in enumerate(self.subjects)
        ]
        write_rows(path, ("region", "x", "y", "searched_mm2", *columns), rows)


def compare_counts(
    first: Path | str,
    second: Path | str,
    *,
    roi: Path | str | None = None,
    grid_um: float = GRID_UM,
    mpp: float | None = None,
    same_slide: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> CountAgreement:
    """Compare the counts of two results of one slide, for each class.

    Args:
        first: Result folder of `histocyte segment`, a cells.parquet, or a GeoJSON file of cells; the reference.
        second: What is compared with it.
        roi: GeoJSON with polygons, level-0 px: compare the cells per mm² of these and not the counts of squares.
        grid_um: Side of the squares, µm.
        mpp: Level-0 resolution for a file that does not say it, µm/px; else that of the other result is taken.
        same_slide: Compare even where the results say that they are of different slides.
        replicates: Resamples behind the interval of R².
        seed: Seed of the resamples.

    Raises:
        InputError: A file cannot be read, the slides differ, or there is nothing that both searched.
        ResolutionError: The resolution is missing or impossible.
    """
    check_grid(grid_um)
    one = read_located(first, mpp=mpp)
    two = read_located(second, mpp=mpp, fallback_mpp=one.mpp)
    common, notes = check_pair(one, two, same_slide=same_slide)
    names, kinds, said = shared_classes(one, two)
    subjects, counts, more = count_in_subjects((one, two), common, roi, grid_um, kinds, len(names) + 1)
    counts = counts.reshape(len(subjects), 2, len(names) + 1)
    mm2 = None if roi is None else np.array([s.searched_mm2 for s in subjects])
    columns = [(ALL, counts.sum(axis=2)), *((name, counts[:, :, i]) for i, name in enumerate(names))]
    classes = [agreement_of(name, column, mm2, replicates=replicates, seed=seed) for name, column in columns]
    notes = [*one.notes, *two.notes, *notes, *said, *more]
    if len(subjects) < _FEW:
        way = "Try a smaller --grid-um." if roi is None else "Leave out --roi to compare squares."
        none = f", and below {LEAST_GROUPS} without intervals" if len(subjects) < LEAST_GROUPS else ""
        what = "squares" if roi is None else "regions"
        notes.append(f"Only {len(subjects)} {what}: figures are rough{none}. {way}")
    return CountAgreement(
        one.path,
        two.path,
        one.name,
        one.mpp,
        grid_um if roi is None else None,
        replicates,
        seed,
        tuple(subjects),
        tuple(classes),
        tuple(notes),
    )


def agreement_of(
    name: str, counts: NDArray[np.int64], mm2: NDArray[np.float64] | None, *, replicates: int, seed: int
) -> ClassAgreement:
    """Every figure of agreement for one class.

    Args:
        name: Name of the class.
        counts: (n, 2) cells of each subject.
        mm2: (n,) area of each subject, to compare cells per mm²; None to compare counts.
        replicates: Resamples behind the interval of R².
        seed: Seed of the resamples.
    """
    values = counts.astype(np.float64) if mm2 is None else counts / mm2[:, None]
    first, second = values.T

    def told(figure: Interval) -> Interval:
        return figure if len(values) >= LEAST_GROUPS else Interval(figure.value, np.nan, np.nan)

    limits = bland_altman(first, second)
    return ClassAgreement(
        name,
        (int(counts[:, 0].sum()), int(counts[:, 1].sum())),
        values,
        replace(
            limits,
            bias=told(limits.bias),
            lower=told(limits.lower),
            upper=told(limits.upper),
            slope=told(limits.slope),
        ),
        told(intraclass_correlation(values)),
        told(intraclass_correlation(values, kind="consistency")),
        r_squared_of(first, second, replicates=replicates, seed=seed),
        told(concordance(first, second)),
    )


def r_squared_of(
    first: NDArray[np.float64], second: NDArray[np.float64], *, replicates: int, seed: int, level: float = 0.95
) -> Interval:
    """R² of the second column as a guess of the first, with a bootstrap interval over subjects.

    NaN for fewer than two subjects or where the first never varies; replicates where it does not are left out. There is
    no interval on few subjects, where it would hang on which of them were drawn (`bootstrap.LEAST_UNITS`).
    """
    if len(first) < 2:
        return Interval(np.nan, np.nan, np.nan)
    shifted = first - first.mean()
    table = np.column_stack([np.ones(len(first)), shifted, shifted**2, (first - second) ** 2])

    def score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        n, total, squares, errors = sums.T
        spread = squares - total**2 / n
        varies = spread > _DUST * np.maximum(squares, (table[:, 0] * first**2).sum())
        return np.where(varies, 1 - errors / np.where(varies, spread, 1), np.nan)

    value = float(score(table.sum(axis=0, keepdims=True))[0])
    drawn = score(resampled_sums(table, replicates=replicates, seed=seed))
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(first) < LEAST_UNITS or len(drawn) < (1 - MOST_UNDEFINED) * replicates:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def figures_of(c: ClassAgreement) -> list[tuple[str, str, Interval, bool]]:
    """Key, title, figure, and whether it has the unit of the counts."""
    ba = c.bland_altman
    return [
        ("bias", "bias (second less first)", ba.bias, True),
        ("lower", "lower limit of agreement", ba.lower, True),
        ("upper", "upper limit of agreement", ba.upper, True),
        ("slope", "proportional bias (slope)", ba.slope, False),
        ("icc_2_1", "ICC(2,1), agreement", c.icc_agreement, False),
        ("icc_3_1", "ICC(3,1), consistency", c.icc_consistency, False),
        ("r2", "R² of the second", c.r2, False),
        ("concordance", "Lin's concordance", c.concordance, False),
    ]


def figures_in_words(c: ClassAgreement) -> list[tuple[str, str, str]]:
    """Title of each figure, its value, and its interval."""
    rows = []
    for key, title, figure, has_unit in figures_of(c):
        value, low, high = (_number(v, 3 if has_unit else 4) for v in figure)
        interval = "–" if math.isnan(figure.low) else f"{low} to {high}"
        p = c.bland_altman.slope_p
        if key == "slope" and not math.isnan(p):
            interval += f", p = {p:.2g}" if p >= 0.001 else ", p < 0.001"
        rows.append((title, value, interval))
    return rows


def _number(value: float, places: int) -> str:
    """A dash where undefined."""
    if math.isnan(value):
        return "–"
    places = 0 if abs(value) >= 1000 else places
    return f"{round(value, places) + 0.0:,.{places}f}"  # + 0.0: no minus before a zero


def _class_json(c: ClassAgreement) -> dict[str, object]:
    ba = c.bland_altman
    plain = {"sd": ba.sd, "slope_p": ba.slope_p, "intercept": ba.intercept}
    return {
        "name": c.name,
        "n": ba.n,
        "total_first": c.totals[0],
        "total_second": c.totals[1],
        **{
            key: {k: _defined(v) for k, v in figure._asdict().items()} | {"n": ba.n}
            for key, _, figure, _ in figures_of(c)
        },
        **{key: _defined(value) for key, value in plain.items()},
    }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
