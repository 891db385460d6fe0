"""What `counts.count_cells` found, and how it is written down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from histocyte.core.names import counted
from histocyte.counts.regions import SEARCHED
from histocyte.files.csv_file import write_rows
from histocyte.pages.text import figures
from histocyte.statistics.bootstrap import Estimate

__all__ = ["ClassCount", "Counts", "RegionCount"]

_EACH = 20
"""Up to so many regions have a table each."""


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Cells of one class in one region.

    Attributes:
        name: The class; "all" and "unclassified" besides those of the result.
        count: Cells whose centre lies in the searched part of the region.
        density: Cells per mm² of that part; n is the number of squares. NaN where there is no area; its interval is
            NaN for fewer than two squares and for a count of 0.
    """

    name: str
    count: int
    density: Estimate


@dataclass(frozen=True, slots=True)
class RegionCount:
    """Cells in one region.

    Attributes:
        name: As drawn; "searched tissue" or, if that is unknown, "whole result" where none was drawn.
        area_mm2: All of the region; NaN if unknown.
        searched_mm2: What of it was searched, on which counts and densities rest.
        squares: Squares of the grid that it touches.
        classes: All cells first, then each class.
    """

    name: str
    area_mm2: float
    searched_mm2: float
    squares: int
    classes: tuple[ClassCount, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What `count_cells` found.

    Attributes:
        name: The slide's, or the file's.
        path: Where the cells were read from.
        mpp: Level-0 resolution, µm/px.
        grid_um: Side of the squares.
        replicates: Resamples behind each interval.
        seed: Seed of the resamples.
        regions: In the order drawn.
        notes: What a reader should know, in sentences.
    """

    name: str
    path: Path
    mpp: float
    grid_um: float
    replicates: int
    seed: int
    regions: tuple[RegionCount, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """JSON-ready: `settings`, `regions` (a list with `classes`, each with `count` and `density_per_mm2`), `notes`.

        A density is `{value, low, high, n, dropped}`, null where undefined; n is the number of squares.
        """
        return {
            "format": "histocyte-counts/1",
            "result": str(self.path),
            "name": self.name,
            "settings": {
                "mpp": self.mpp,
                "grid_um": self.grid_um,
                "replicates": self.replicates,
                "seed": self.seed,
                "level": 0.95,
            },
            "regions": [
                {
                    "name": region.name,
                    "area_mm2": None if math.isnan(region.area_mm2) else region.area_mm2,
                    "searched_mm2": None if math.isnan(region.searched_mm2) else region.searched_mm2,
                    "squares": region.squares,
                    "classes": [
                        {"name": c.name, "count": c.count, "density_per_mm2": c.density.to_json()}
                        for c in region.classes
                    ],
                }
                for region in self.regions
            ],
            "notes": list(self.notes),
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """What the columns of `tables` are."""
        first = ("region", "mm² searched") if len(self.regions) > _EACH else ("class",)
        return *first, "cells", "per mm²", "95 % interval"

    def tables(self, most: int | None = None) -> list[tuple[str, list[tuple[str, ...]]]]:
        """For each region a title and a row a class; of many regions one table with a row each. All text.

        Args:
            most: Rows of the table of many regions; all where None.
        """
        if len(self.regions) > _EACH:
            shown = self.regions[:most]
            which = "" if len(shown) == len(self.regions) else f", of which the first {len(shown):,}"
            rows = [(r.name, figures(r.searched_mm2), *_row(r.classes[0])[1:]) for r in shown]
            return [(f"{self.name}: {len(self.regions):,} regions{which}, all classes together", rows)]
        return [(self._title(region), [_row(c) for c in region.classes]) for region in self.regions]

    def _title(self, region: RegionCount) -> str:
        if math.isnan(region.searched_mm2):
            return f"{self.name}, {region.name}"
        whole = "" if region.name == SEARCHED else f" of {region.area_mm2:.4g}"
        return (
            f"{self.name}, {region.name}: {region.searched_mm2:.4g}{whole} mm² searched, "
            f"n = {counted(region.squares, 'square')} of {self.grid_um:g} µm"
        )

    def write_csv(self, path: Path) -> None:
        """Write a line for each class in each region, whole or not at all; empty where undefined.

        Raises:
            DiskError: The file could not be written.
        """
        header = ("region", "class", "count", "density_per_mm2", "low", "high", "squares", "area_mm2", "searched_mm2")
        rows = [
            (
                region.name,
                c.name,
                c.count,
                *(_field(v) for v in (c.density.value, c.density.low, c.density.high)),
                region.squares,
                _field(region.area_mm2),
                _field(region.searched_mm2),
            )
            for region in self.regions
            for c in region.classes
        ]
        write_rows(path, header, rows)


def _row(c: ClassCount) -> tuple[str, ...]:
    interval = "–" if math.isnan(c.density.low) else f"{figures(c.density.low)} to {figures(c.density.high)}"
    return c.name, f"{c.count:,}", figures(c.density.value), interval


def _field(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
