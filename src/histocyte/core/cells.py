"""Cells as columns, one row a cell: what every exporter, table and viewer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.cell_columns import COLUMNS
from histocyte.core.names import counted
from histocyte.core.notebook import dot, outlines_svg
from histocyte.core.plain_text import plain
from histocyte.core.registry import Registry
from histocyte.core.taxonomy import Taxonomy

if TYPE_CHECKING:
    import geopandas
    import pandas

__all__ = ["CELL_FORMATS", "Cells"]

CELL_FORMATS: Registry[None] = Registry(
    "cell format",
    {
        "geojson": "histocyte.formats.geojson.cells:write_geojson",
        "parquet": "histocyte.formats.geoparquet:write_parquet",
    },
    group="histocyte.cell_formats",
)
"""Format → function(path, cells) that writes it. Named and not imported: core knows no files. Others may add theirs."""

_FRAMES = "histocyte.formats.frames"
"""Named and not imported for the same reason."""
_STORED = tuple(column.attribute for column in COLUMNS if not column.derived)
"""Attributes with a row for each cell, besides position and outline."""


@dataclass(frozen=True, slots=True, repr=False)
class Cells:
    """N cells of one slide.

    Attributes:
        xy: (N, 2) float64 centroid (x, y), level-0 px.
        contour_xy: (M, 2) float64, all outlines' points one after the other, level-0 px; each ring is open
            (first point not repeated), counter-clockwise on screen or clockwise but simple.
        contour_offsets: (N + 1,) int64, cell i owns contour_xy[contour_offsets[i]:contour_offsets[i + 1]].
        area_um2: (N,) float32, pixel area of the nucleus in µm².
        probabilities: (N, K) float32 class probabilities; K = 0 for a model without classes.
        scores: (N,) float32 in 0..1, detection score.
        taxonomy: The K classes.
        mpp: Level-0 resolution, µm/px.
        embeddings: (N, D) float32 vectors, if there are any.
        origin: (x, y) in level-0 px where the picture begins that viewers show (see `core.geometry`); GeoJSON counts
            from there.
    """

    xy: NDArray[np.float64]
    contour_xy: NDArray[np.float64]
    contour_offsets: NDArray[np.int64]
    area_um2: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    scores: NDArray[np.float32]
    taxonomy: Taxonomy
    mpp: float
    embeddings: NDArray[np.float32] | None = field(default=None)
    origin: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.scores)

    def __repr__(self) -> str:
        """How many there are, of which classes and at which resolution."""
        classes = ", ".join(f"{count:,} {name}" for name, count in self._counts().items())
        size = f"; median area {np.median(self.area_um2):.1f} µm²" if len(self) else ""
        vectors = "" if self.embeddings is None else f"; vectors of {self.embeddings.shape[1]}"
        return plain(f"<Cells: {len(self):,}, {classes}{size}{vectors}; slide at {self.mpp:g} µm/px>", one_line=True)

    def _repr_html_(self) -> str:
        """The same as a table, with a small picture of the outlines, for notebooks."""
        index, rows = self.class_index, []
        for number, (name, count) in enumerate(self._counts().items()):
            mine = index == (number if len(self.taxonomy) else -1)
            share = f"{count / len(self):.1%}" if len(self) else "–"
            area = f"{np.median(self.area_um2[mine]):.1f}" if count else "–"
            prob = f"{self.class_prob[mine].mean():.2f}" if count else "–"
            colour = dot(self.taxonomy.classes[number].colour if len(self.taxonomy) else None)
            rows.append(f"<tr><td>{colour}{escape(plain(name))}<td>{count:,}<td>{share}<td>{area}<td>{prob}</tr>")
        colours = [each.colour for each in self.taxonomy.classes]
        return (
            f"<table><caption>{counted(len(self), 'cell')}, slide at {self.mpp:g} "
            "µm/px</caption><tr><th>class<th>cells<th>share"
            f"<th>median area, µm²<th>mean probability</tr>{''.join(rows)}</table>"
            f"{outlines_svg(self.contour_xy, self.contour_offsets, index, colours)}"
        )

    def _counts(self) -> dict[str, int]:
        """Cells of each class by its name; all are "cell" without classes."""
        if not len(self.taxonomy):
            return {"cell": len(self)}
        counts = np.bincount(self.class_index, minlength=len(self.taxonomy))
        return {name: int(count) for name, count in zip(self.taxonomy.names, counts, strict=True)}

    @property
    def class_index(self) -> NDArray[np.int64]:
        """(N,) most probable class, index into the taxonomy; -1 throughout without classes."""
        if self.probabilities.shape[1] == 0:
            return np.full(len(self), -1, np.int64)
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def class_prob(self) -> NDArray[np.float32]:
        """(N,) probability of that class; 1 throughout without classes."""
        if self.probabilities.shape[1] == 0:
            return np.ones(len(self), np.float32)
        return np.asarray(self.probabilities.max(axis=1), np.float32)

    @property
    def class_names(self) -> NDArray[np.str_]:
        """(N,) name of that class; 'cell' throughout without classes."""
        if len(self.taxonomy) == 0:
            return np.full(len(self), "cell", dtype="<U4")
        return np.asarray(self.taxonomy.names)[self.class_index] if len(self) else np.empty(0, "<U1")

    def contour(self, i: int) -> NDArray[np.float64]:
        """(P, 2) outline (x, y) of cell i, level-0 px, open ring."""
        return self.contour_xy[self.contour_offsets[i] : self.contour_offsets[i + 1]]

    def bounds(self) -> NDArray[np.float64]:
        """(N, 4) xmin, ymin, xmax, ymax of the outlines, level-0 px."""
        if len(self) == 0:
            return np.empty((0, 4), np.float64)
        starts = self.contour_offsets[:-1]
        low = np.minimum.reduceat(self.contour_xy, starts, axis=0)
        high = np.maximum.reduceat(self.contour_xy, starts, axis=0)
        return np.hstack([low, high])

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Cells:
        """The cells at the given positions (or where the mask is true), in that order."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, np.int64)
        sizes = np.diff(self.contour_offsets)[index]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        # One gather for all rings: position within the ring plus the ring's start.
        points = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes) + np.repeat(self.contour_offsets[index], sizes)
        rows_of: dict[str, Any] = {
            name: None if (whole := getattr(self, name)) is None else whole[index] for name in _STORED
        }
        return replace(self, xy=self.xy[index], contour_xy=self.contour_xy[points], contour_offsets=offsets, **rows_of)

    def write(self, path: str | Path, format: str) -> None:
        """Write the cells to a file, in any of `CELL_FORMATS`.

        Raises:
            UnknownNameError: There is no such format.
            DiskError: The file cannot be written.
        """
        CELL_FORMATS[format](Path(path), self)

    def to_geojson(self, path: str | Path) -> None:
        """Write the cells for QuPath (see `formats.geojson`); gzipped if the name ends in .gz."""
        self.write(path, "geojson")

    def to_parquet(self, path: str | Path) -> None:
        """Write the cells as GeoParquet (see `formats.geoparquet`)."""
        self.write(path, "parquet")

    def to_pandas(self) -> pandas.DataFrame:
        """A table of pandas, a row a cell (see `formats.frames`).

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return import_module(_FRAMES).to_pandas(self)

    def to_geopandas(self) -> geopandas.GeoDataFrame:
        """The same with outlines as polygons in level-0 px.

        Raises:
            MissingExtraError: pandas or GeoPandas is not installed.
        """
        return import_module(_FRAMES).to_geopandas(self)

    @classmethod
    def empty(cls, taxonomy: Taxonomy, mpp: float, origin: tuple[int, int] = (0, 0)) -> Cells:
        """No cells at all, with the columns in place."""
        return cls(
            np.empty((0, 2)),
            np.empty((0, 2)),
            np.zeros(1, np.int64),
            np.empty(0, np.float32),
            np.empty((0, len(taxonomy)), np.float32),
            np.empty(0, np.float32),
            taxonomy,
            mpp,
            origin=origin,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Cells]) -> Cells:
        """One table of all parts' rows, in order; the parts share taxonomy, resolution and origin.

        Raises:
            ValueError: No parts, or parts with different taxonomies.
        """
        if not parts or any(p.taxonomy != parts[0].taxonomy for p in parts):
            raise ValueError("Cells.concatenate needs one or more tables with the same taxonomy.")
        starts = np.cumsum([0] + [len(p.contour_xy) for p in parts])
        offsets = [p.contour_offsets[:-1] + s for p, s in zip(parts, starts[:-1], strict=True)]
        columns: dict[str, list[Any]] = {name: [getattr(p, name) for p in parts] for name in _STORED}
        joined: dict[str, Any] = {
            name: None if any(v is None for v in values) else np.concatenate(values) for name, values in columns.items()
        }
        return replace(
            parts[0],
            xy=np.concatenate([p.xy for p in parts]),
            contour_xy=np.concatenate([p.contour_xy for p in parts]),
            contour_offsets=np.concatenate([*offsets, starts[-1:]]).astype(np.int64),
            **joined,
        )
