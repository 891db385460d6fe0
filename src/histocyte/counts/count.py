"""How many cells there are, and how many per mm², of one slide or of the regions drawn on it.

The interval of a density is that of a ratio, cells by area, over resamples of the squares of a grid. It is not that of
a Poisson count: cells of a kind lie in clusters, so counts of squares vary by more than their mean and a Poisson
interval would be too narrow (Cressie, Statistics for Spatial Data, 1993, ch. 8, doi 10.1002/9781119115151). Squares
are taken as independent; where clusters are larger than a square, this interval is too narrow as well.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.names import MOST_NAMED, counted, some_names
from histocyte.counts.input import LocatedCells, read_located
from histocyte.counts.regions import Drawn, drawn_on
from histocyte.counts.result import ClassCount, Counts, RegionCount
from histocyte.counts.squares import SortedPoints, cut_into_squares, resampled_sums
from histocyte.statistics.bootstrap import LEAST_GROUPS, Estimate

__all__ = ["ALL", "GRID_UM", "check_grid", "count_cells"]

GRID_UM = 250.0
"""Side of a square, µm: a field of view at ×40 or so, with tens of nuclei in each."""

ALL, UNCLASSIFIED = "all", "unclassified"

_FEW = 20
"""Below so many squares the ends of an interval are rough: they hang on the few fullest ones."""


def count_cells(
    result: Path | str,
    *,
    roi: Path | str | None = None,
    grid_um: float = GRID_UM,
    mpp: float | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Counts:
    """Count the cells of a result, per class and per mm² of searched tissue or of each region drawn.

    A cell belongs to the region that holds its centre, to both where two overlap.

    Args:
        result: Result folder of `histocyte segment`, a cells.parquet, or a GeoJSON file of cells.
        roi: GeoJSON with polygons, level-0 px of the slide.
        grid_um: Side of the squares that are resampled for the intervals, µm.
        mpp: Level-0 resolution for a file that does not say it, µm/px.
        replicates: Resamples behind each interval.
        seed: Seed of the resamples.

    Raises:
        InputError: A file cannot be read, or no region lies in what was searched, or the squares are too small.
        ResolutionError: The resolution is missing or impossible.
    """
    check_grid(grid_um)
    cells = read_located(result, mpp=mpp)
    regions, notes = drawn_on(cells.searched, roi)
    if cells.searched is None and roi is None:
        notes.append(
            "How large an area was searched is not known, so there is no density. Pass --roi, or a result folder."
        )
    names, kinds = _kinds(cells)
    points = SortedPoints(cells.xy)
    rows = []
    for region in regions:
        if region.searched is None:
            rows.append(_without_area(region.name, names, kinds))
            continue
        squares = cut_into_squares(region.searched, grid_um / cells.mpp)
        whole = float(region.whole.area if region.whole is not None else region.searched.area)
        area = whole * cells.mpp**2 / 1e6
        here = points.inside(region.searched)
        counts = squares.count(cells.xy[here], kinds[here], len(names)).reshape(-1, len(names))
        mm2 = squares.area_px2.ravel() * cells.mpp**2 / 1e6
        rows.append(_in_region(region.name, area, counts, mm2, names, replicates, seed))
    notes += _notes(cells, regions, rows, roi is not None)
    return Counts(cells.name, cells.path, cells.mpp, grid_um, replicates, seed, tuple(rows), tuple(notes))


def check_grid(grid_um: float) -> None:
    """See whether squares can have this side.

    Raises:
        InputError: It is not a positive length.
    """
    if not (math.isfinite(grid_um) and grid_um > 0):
        raise InputError(f"The side of a square must be above 0 µm, not {grid_um:g}.")


def _kinds(cells: LocatedCells) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of the kinds of cell that are counted, and the kind of each cell."""
    names = cells.class_names
    if not names or (cells.kinds < 0).any():
        return (*names, UNCLASSIFIED), np.where(cells.kinds < 0, len(names), cells.kinds)
    return names, cells.kinds


def _without_area(name: str, names: tuple[str, ...], kinds: NDArray[np.int64]) -> RegionCount:
    counts = np.bincount(kinds, minlength=len(names))
    unknown = Estimate(math.nan, math.nan, math.nan, 0)
    return RegionCount(name, math.nan, math.nan, 0, _classes(names, counts, [unknown] * (len(names) + 1)))


def _in_region(
    name: str,
    area_mm2: float,
    counts: NDArray[np.int64],
    mm2: NDArray[np.float64],
    names: tuple[str, ...],
    replicates: int,
    seed: int,
) -> RegionCount:
    """Sum up (S, K) counts in S squares, of which the region has so many mm² each."""
    # A cell on the region's edge may lie in a square whose inside it does not touch.
    used = (mm2 > 0) | counts.any(axis=1)
    densities = _densities(counts[used], mm2[used], replicates, seed)
    total = counts.sum(axis=0)
    return RegionCount(name, area_mm2, float(mm2.sum()), int(used.sum()), _classes(names, total, densities))


def _classes(names: tuple[str, ...], counts: NDArray[np.int64], densities: list[Estimate]) -> tuple[ClassCount, ...]:
    rows = zip((ALL, *names), (int(counts.sum()), *counts.tolist()), densities, strict=True)
    # A result without classes only has cells.
    return tuple(ClassCount(*row) for row in rows)[: 1 if names == (UNCLASSIFIED,) else None]


def _densities(
    counts: NDArray[np.int64], mm2: NDArray[np.float64], replicates: int, seed: int, level: float = 0.95
) -> list[Estimate]:
    """Density of all cells, then of each of (S, K) kinds in S squares."""
    table = np.column_stack([counts.sum(axis=1), counts, mm2]).astype(np.float64)
    n, whole = len(table), table.sum(axis=0)
    if whole[-1] <= 0:
        return [Estimate(math.nan, math.nan, math.nan, n)] * (len(whole) - 1)
    values = whole[:-1] / whole[-1]
    if n < LEAST_GROUPS:
        return [Estimate(float(v), math.nan, math.nan, n) for v in values]
    sums = resampled_sums(table, replicates=replicates, seed=seed)
    defined = sums[sums[:, -1] > 0]
    ends = np.quantile(defined[:, :-1] / defined[:, -1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    ends[:, values == 0] = math.nan  # resamples of nothing are nothing, however small the area
    dropped = len(sums) - len(defined)
    return [Estimate(float(v), float(a), float(b), n, dropped) for v, a, b in zip(values, *ends, strict=True)]


def _notes(cells: LocatedCells, regions: list[Drawn], rows: list[RegionCount], roi: bool) -> list[str]:
    notes = list(cells.notes)
    partial = [row for row in rows if roi and row.searched_mm2 < 0.9995 * row.area_mm2]
    notes += [
        f"'{row.name}': {row.searched_mm2:.4g} of {row.area_mm2:.4g} mm² were searched; the density is that of this "
        "part."
        for row in partial[:MOST_NAMED]
    ]
    if len(partial) > MOST_NAMED:
        notes.append(
            f"Of {counted(len(partial) - MOST_NAMED, 'more region', 'more regions')} only a part was searched; "
            "densities are those of the part."
        )
    few = [row for row in rows if row.squares < _FEW and not math.isnan(row.searched_mm2)]
    if few:
        said = some_names([row.name for row in few], followed_by=[str(row.squares) for row in few])
        notes.append(
            f"Few squares ({said}): intervals are rough, below {LEAST_GROUPS} there is none. Try a smaller --grid-um."
        )
    if not roi and cells.searched is not None:
        outside = len(cells.xy) - rows[0].classes[0].count
        if outside:
            notes.append(f"Not counted, as their centre lies outside the searched tissue: {counted(outside, 'cell')}.")
    unclassified = int((cells.kinds < 0).sum()) if cells.class_names else 0
    if unclassified:
        notes.append(
            f"{counted(unclassified, 'cell has no class and counts', 'cells have no class and count')} under "
            f"'{UNCLASSIFIED}'."
        )
    return notes
