"""summary.csv: how many cells of which class, how dense and how large, by region."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from histocyte.core.cells import Cells
from histocyte.core.errors import InputError
from histocyte.core.taxonomy import Taxonomy
from histocyte.files.csv_file import write_rows

__all__ = ["Summary"]

_ALL = "all"
_COLUMNS = ("region", "class", "count", "density_per_mm2", "mean_area_um2")


class Summary:
    """Adds up cells as they stream by.

    Args:
        taxonomy: Classes of the cells.
        regions: (name, polygon in level-0 px, area in mm²), in the order of the rows. A cell counts for every
            region that covers its centre; where the polygon is None every cell counts.

    Raises:
        InputError: Two regions have the same name.
    """

    def __init__(self, taxonomy: Taxonomy, regions: Sequence[tuple[str, shapely.Geometry | None, float]]) -> None:
        names = [name for name, _, _ in regions]
        if len(set(names)) < len(names):
            raise InputError(f"Two regions have the same name: {', '.join(sorted(names))}. Rename one of them.")
        self._regions = list(regions)
        self._classes = taxonomy.names or ("cell",)
        for _, polygon, _ in regions:
            shapely.prepare(polygon)
        self._everywhere = [i for i, (_, polygon, _) in enumerate(regions) if polygon is None]
        # A place that is None is in no tree: what the tree finds are places among all regions.
        self._tree = shapely.STRtree([polygon for _, polygon, _ in regions])
        # Last row: all cells, whatever regions there are.
        self._count = np.zeros((len(regions) + 1, len(self._classes)), np.int64)
        self._area_um2 = np.zeros((len(regions) + 1, len(self._classes)))

    def add(self, cells: Cells) -> None:
        """Count these cells too."""
        kind = np.maximum(cells.class_index, 0)
        for i in self._everywhere:
            self._add(i, kind, cells.area_um2, None)
        if len(cells):
            # Cells come block by block, and of many regions a block meets few.
            around = shapely.box(*cells.xy.min(axis=0), *cells.xy.max(axis=0))
            for i in self._tree.query(around):
                inside = shapely.intersects_xy(self._regions[i][1], cells.xy)
                self._add(int(i), kind, cells.area_um2, inside)
        self._add(-1, kind, cells.area_um2, None)

    def counts(self) -> dict[str, int]:
        """Class name → number of cells added, in the taxonomy's order; 'cell' for a model without classes."""
        return dict(zip(self._classes, self._count[-1].tolist(), strict=True))

    def write(self, path: Path) -> None:
        """Write the table: for each region a row a class and one for 'all' classes.

        Columns are region, class, count, density_per_mm2, mean_area_um2; the last two are empty where they
        would be a division by zero.

        Raises:
            DiskError: It cannot be written.
        """
        write_rows(path, _COLUMNS, self._rows())

    def _add(
        self, row: int, kind: NDArray[np.int64], area_um2: NDArray[np.float32], inside: NDArray[np.bool_] | None
    ) -> None:
        if inside is not None:
            kind, area_um2 = kind[inside], area_um2[inside]
        self._count[row] += np.bincount(kind, minlength=len(self._classes))
        self._area_um2[row] += np.bincount(kind, weights=area_um2, minlength=len(self._classes))

    def _rows(self) -> Iterator[tuple[str, str, int, str, str]]:
        for i, (name, _, area_mm2) in enumerate(self._regions):
            counts, areas = self._count[i].tolist(), self._area_um2[i].tolist()
            listed = zip((_ALL, *self._classes), (sum(counts), *counts), (sum(areas), *areas), strict=True)
            for kind, count, area_um2 in listed:
                density = f"{count / area_mm2:.3f}" if area_mm2 > 0 else ""
                yield name, kind, count, density, f"{area_um2 / count:.3f}" if count else ""
