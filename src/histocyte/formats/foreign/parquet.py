"""The table of cells that `histocyte segment` writes: outlines as WKB, classes by name with their probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import stated_origin, to_viewer
from histocyte.files.foreign import foreign_parser
from histocyte.formats.foreign.contents import CellFile
from histocyte.formats.foreign.polygons import Polygons

__all__ = ["read_parquet_cells"]

_COLUMNS = ("geometry", "class", "class_prob", "probabilities", "score")


def read_parquet_cells(path: Path) -> CellFile:
    """Read the table; another program's GeoParquet will do if it has `geometry` and perhaps `class`, by name.

    Outlines come in the viewer's frame (see `core.geometry`), in which all other files of cells are.

    Raises:
        InputError: Not such a table.
    """
    with foreign_parser(lambda why: InputError(f"'{path}' is not a table of cells ({why}). Pass a cells.parquet.")):
        with pq.ParquetFile(path) as file:
            about = json.loads((file.metadata.metadata or {}).get(b"histocyte", b"{}"))
            here = file.schema_arrow.names
            if "geometry" not in here:
                raise InputError(f"'{path}' has no column 'geometry'; it has {', '.join(here[:8])}.")
            table = file.read([name for name in _COLUMNS if name in here])
        listed = about.get("taxonomy", {}).get("classes")
        names = None if listed is None else [str(c["name"]) for c in listed]
        geometries = shapely.from_wkb(table["geometry"].to_numpy())
        types, names = _types(table, names)
        return CellFile(
            path,
            _polygons(geometries, path, stated_origin(about)),
            types,
            _numbers(table, "class_prob"),
            dict(enumerate(names, 1)),
            _probabilities(table, len(names)),
            _numbers(table, "score"),
            float(about["mpp"]) if "mpp" in about else None,
        )


def _types(table: pa.Table, names: list[str] | None) -> tuple[NDArray[np.int64], list[str]]:
    """Codes and the names they count, in the order of the model's classes where they are known."""
    if "class" not in table.column_names or names == []:
        return np.zeros(len(table), np.int64), []
    called = table["class"].cast(pa.string()).to_pylist()
    names = sorted(set(called) - {None}) if names is None else names
    codes = {None: 0} | {name: i for i, name in enumerate(names, 1)}
    return np.array([codes[name] for name in called], np.int64), names


def _numbers(table: pa.Table, name: str) -> NDArray[np.float32]:
    if name not in table.column_names:
        return np.ones(len(table), np.float32)
    values = np.asarray(table[name].to_numpy(), np.float64)
    return np.where((values >= 0) & (values <= 1), values, 1).astype(np.float32)


def _probabilities(table: pa.Table, classes: int) -> NDArray[np.float32] | None:
    if "probabilities" not in table.column_names or not classes:
        return None
    flat = table["probabilities"].combine_chunks().flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(len(table), classes)


def _polygons(geometries: NDArray[np.object_], path: Path, origin: tuple[int, int]) -> Polygons:
    kinds = shapely.get_type_id(geometries)
    wrong = ~np.isin(kinds, (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    wrong |= shapely.is_empty(geometries)
    if wrong.any():
        which = f"cell {int(wrong.argmax()) + 1:,} of {len(wrong):,}"
        raise InputError(f"'{path}': {which} is not a polygon, and outlines are needed.")
    parts, owner = shapely.get_parts(geometries, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    return Polygons(
        to_viewer(np.ascontiguousarray(points, np.float64), origin),
        np.concatenate([[0], np.cumsum(np.bincount(ring, minlength=len(rings)))]).astype(np.int64),
        np.concatenate([[0], np.cumsum(np.bincount(owner[part], minlength=len(geometries)))]).astype(np.int64),
    ).check(path)
