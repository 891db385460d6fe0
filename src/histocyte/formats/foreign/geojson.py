"""Cells of GeoJSON to be scored: their outlines, classes, and what is known of their probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.formats.foreign.contents import CellFile
from histocyte.formats.foreign.polygons import Polygons
from histocyte.formats.geojson.cell_objects import cells_of
from histocyte.formats.geojson.objects import objects_of

__all__ = ["read_geojson_cells"]

_PROBABILITY, _SCORE = "Class probability", "Detection score"


def read_geojson_cells(data: Any, path: Path) -> CellFile:
    """Read cells (see `cells_of`).

    Args:
        data: The content, for which `is_geojson` holds.
        path: Where it is from.

    Raises:
        InputError: A feature is broken.
    """
    cells = cells_of(objects_of(data, path), need_outlines=True)
    outlines = cells.outlines
    polygons = Polygons(outlines.xy, outlines.rings, outlines.polygons[outlines.shapes])
    return _file(path, polygons, cells.class_names(), cells.measurements(), cells.notes)


def _file(
    path: Path,
    polygons: Polygons,
    classes: list[str | None],
    measured: list[dict[str, float | None]],
    notes: tuple[str, ...],
) -> CellFile:
    stated = [key[2:-1] for key in measured[0] if key.startswith("P(") and key.endswith(")")] if measured else []
    names = [*stated, *sorted({name for name in classes if name is not None} - set(stated))]
    codes = {name: i for i, name in enumerate(names, 1)}
    probabilities = None
    if stated and len(stated) == len(names):
        keys = [f"P({name})" for name in names]
        rows = [[m.get(key) for key in keys] for m in measured]
        if not any(None in row for row in rows):  # a cell that someone drew by hand has none
            probabilities = np.array(rows, np.float32)
    return CellFile(
        path,
        polygons,
        np.array([0 if name is None else codes[name] for name in classes], np.int64),
        _column(measured, _PROBABILITY),
        {code: name for name, code in codes.items()},
        probabilities,
        _column(measured, _SCORE),
        notes=notes,
    )


def _column(measured: list[dict[str, float | None]], key: str) -> NDArray[np.float32]:
    """(N,) values within 0..1, 1 where there is none."""
    values = np.array([1.0 if (value := m.get(key)) is None else value for m in measured], np.float32)
    return np.where((values >= 0) & (values <= 1), values, np.float32(1))
