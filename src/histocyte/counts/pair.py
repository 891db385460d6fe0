"""Two results of one slide side by side: that they belong together, which classes both know, counts by square."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from histocyte.core.errors import InputError
from histocyte.core.names import MOST_NAMED, counted, some_names
from histocyte.counts.input import SAME_MPP, LocatedCells
from histocyte.counts.regions import drawn_on
from histocyte.counts.squares import SortedPoints, cut_into_squares
from histocyte.slides.fingerprint import are_of_one_slide
from histocyte.slides.region import polygonal

__all__ = ["Subject", "check_pair", "count_in_subjects", "shared_classes"]

_COVERED = 0.5
"""Share of a square that both must have searched: counts in slivers are near 0 on both sides and flatter."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A square or region that was counted in twice.

    Attributes:
        name: Name of the region; empty for a square.
        x, y: Upper left corner, px (of a region's bounds), in the viewer's frame.
        searched_mm2: What of it both searched.
    """

    name: str
    x: float
    y: float
    searched_mm2: float


def check_pair(first: LocatedCells, second: LocatedCells, *, same_slide: bool) -> tuple[BaseGeometry | None, list[str]]:
    """See that two results are of one slide, and what both searched.

    Raises:
        InputError: They are of different slides, and `same_slide` does not say otherwise.
    """
    reasons = []
    known = first.fingerprint and second.fingerprint
    same = are_of_one_slide(first.fingerprint, second.fingerprint) if known else None
    if same is False:
        reasons.append("their slides have different fingerprints")
    if first.size_px and second.size_px and first.size_px != second.size_px:
        reasons.append(f"their slides have {first.size_px} and {second.size_px} px")
    if abs(first.mpp / second.mpp - 1) > SAME_MPP:
        reasons.append(f"they have {first.mpp:g} and {second.mpp:g} µm/px")
    if reasons and not same_slide:
        raise InputError(
            f"'{first.path}' and '{second.path}' are not of one slide: {'; '.join(reasons)}. "
            "If they are, pixel by pixel, pass --same-slide."
        )
    notes = [f"Compared as of one slide, though {reason}." for reason in reasons]
    if same is None:
        why = "an earlier version looked at less of it" if known else "not both results say of which they are"
        notes.append(f"That both are of one slide could not be checked: {why}.")
    if first.searched is None or second.searched is None:
        common = first.searched if first.searched is not None else second.searched
        if common is not None:
            unknown = first.path if first.searched is None else second.path
            notes.append(f"What was searched for '{unknown.name}' is not known; it is taken to be the other's.")
        return common, notes
    common = polygonal(shapely.intersection(first.searched, second.searched))
    areas = [float(g.area) * first.mpp**2 / 1e6 for g in (first.searched, second.searched, common)]
    if areas[2] < 0.9995 * max(areas):
        notes.append(
            f"The first searched {areas[0]:.4g} mm², the second {areas[1]:.4g}; compared is what both searched, "
            f"{areas[2]:.4g} mm²."
        )
    return common, notes


def shared_classes(
    first: LocatedCells, second: LocatedCells
) -> tuple[tuple[str, ...], tuple[NDArray[np.int64], NDArray[np.int64]], list[str]]:
    """Classes to compare, the place of each cell's class among them, one more for any other, and notes.

    A class that one result could not have found is not compared. One that a GeoJSON file merely has no cell of is,
    with a count of 0.
    """
    names, notes = [], []
    for name in dict.fromkeys((*first.class_names, *second.class_names)):
        lacking = next((r for r in (first, second) if name not in r.class_names), None)
        if lacking is None:
            names.append(name)
        elif lacking.stated or not lacking.class_names:
            notes.append(f"Class '{name}' is not compared: '{lacking.path}' does not know it.")
        else:
            names.append(name)
            notes.append(f"'{lacking.path}' has no cell of class '{name}': it counts 0 there.")
    place = {name: i for i, name in enumerate(names)}
    columns = tuple(
        np.array([*(place.get(name, len(names)) for name in r.class_names), len(names)], np.int64)[r.kinds]
        for r in (first, second)
    )
    return tuple(names), (columns[0], columns[1]), notes


def count_in_subjects(
    pair: tuple[LocatedCells, LocatedCells],
    common: BaseGeometry | None,
    roi: Path | str | None,
    grid_um: float,
    columns: tuple[NDArray[np.int64], NDArray[np.int64]],
    n_kinds: int,
) -> tuple[list[Subject], NDArray[np.int64], list[str]]:
    """Cut what both searched into subjects, and count in them.

    Args:
        pair: Two results.
        common: What both searched, in the viewer's frame; None if neither says.
        roi: GeoJSON with polygons, or None for squares.
        grid_um: Side of squares.
        columns: For each result (N,) kind of each cell, 0..n_kinds-1.
        n_kinds: K.

    Returns:
        n subjects, (n, 2, K) counts, and notes.

    Raises:
        InputError: There is nothing to compare in.
    """
    mpp = pair[0].mpp
    if roi is None:
        if common is None:
            raise InputError("Neither result says what was searched. Pass --roi, or a result folder of 'segment'.")
        return _in_squares(pair, common, grid_um / mpp, columns, n_kinds)
    regions, notes = drawn_on(common, roi)
    points = [SortedPoints(cells.xy) for cells in pair]
    subjects, tables = [], []
    left_out, partial = [], []
    for region in regions:
        assert region.searched is not None
        assert region.whole is not None
        mm2, whole_mm2 = (float(g.area) * mpp**2 / 1e6 for g in (region.searched, region.whole))
        if mm2 <= 0:
            left_out.append(region.name)
            continue
        if mm2 < 0.9995 * whole_mm2:
            partial.append(f"'{region.name}': compared in the {mm2:.4g} of {whole_mm2:.4g} mm² that both searched.")
        x, y = region.searched.bounds[:2]
        subjects.append(Subject(region.name, x, y, mm2))
        tables.append(
            [
                np.bincount(kinds[of.inside(region.searched)], minlength=n_kinds)
                for of, kinds in zip(points, columns, strict=True)
            ]
        )
    if left_out:
        notes.append(f"Not compared, as they lie outside what both searched: {some_names(left_out)}.")
    notes += partial[:MOST_NAMED]
    if len(partial) > MOST_NAMED:
        notes.append(
            f"So with {counted(len(partial) - MOST_NAMED, 'more region', 'more regions')}: what both searched is "
            "compared."
        )
    return subjects, np.array(tables, np.int64), notes


def _in_squares(
    pair: tuple[LocatedCells, LocatedCells],
    common: BaseGeometry,
    side_px: float,
    columns: tuple[NDArray[np.int64], NDArray[np.int64]],
    n_kinds: int,
) -> tuple[list[Subject], NDArray[np.int64], list[str]]:
    squares = cut_into_squares(common, side_px)
    used = squares.area_px2 >= _COVERED * side_px**2
    counts = [squares.count(cells.xy, kinds, n_kinds) for cells, kinds in zip(pair, columns, strict=True)]
    table = np.stack([c[used] for c in counts], axis=1)
    mm2 = squares.area_px2[used] * pair[0].mpp ** 2 / 1e6
    corners = squares.corners_px()[used] if used.any() else np.zeros((0, 2))
    subjects = [Subject("", x, y, area) for (x, y), area in zip(corners.tolist(), mm2.tolist(), strict=True)]
    notes = []
    partial = int(((squares.area_px2 > 0) & ~used).sum())
    if partial:
        lost = " and ".join(f"{int(c.sum() - c[used].sum()):,}" for c in counts)
        notes.append(
            f"Not compared, as less than half of each was searched by both: {partial:,} of "
            f"{counted(partial + len(subjects), 'square')}, with {lost} cells."
        )
    return subjects, table, notes
