"""Cells as GeoParquet 1.1, the result that other programs compute with.

One row a cell:
    id             int64, 0..N-1 in the order of the rows
    x, y           centre, level-0 px
    geometry       WKB polygon, level-0 px, no coordinate reference system
    bbox           its xmin, ymin, xmax, ymax ("covering" of GeoParquet 1.1: lets readers skip row groups)
    area_um2       µm²
    class          name of the most probable class
    class_prob     its probability
    probabilities  of all classes in the order of the taxonomy; only of a model with classes
    score          0..1, how surely it is a cell
    embeddings     vector of the cell; only where there are any
The file's metadata has a JSON text under "histocyte": version, mpp (level-0, µm/px), taxonomy with colours, frame
("level 0") and origin, the level-0 x and y that viewers such as QuPath count from (see `core.geometry`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from histocyte.core.cell_columns import columns_of
from histocyte.core.cells import Cells
from histocyte.core.errors import DiskError, InputError
from histocyte.core.geometry import stated_origin
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.version import __version__
from histocyte.files.arrow import arrow_array, arrow_rows, arrow_texts
from histocyte.files.atomic import write_atomically
from histocyte.files.foreign import foreign_parser
from histocyte.formats.cell_writer import CellWriter
from histocyte.formats.wkb import from_wkb, to_wkb

__all__ = ["GeoParquetWriter", "iter_cells", "read_cells", "write_parquet"]

_ROW_GROUP = 32768
_ROW_GROUP_WITH_EMBEDDINGS = 8192
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Polygon"],
            "crs": None,
            "edges": "planar",
            "covering": {"bbox": {corner: ["bbox", corner] for corner in _CORNERS}},
        }
    },
}
"""The file's "geo" key, see the GeoParquet 1.1.0 specification."""


class GeoParquetWriter(CellWriter):
    """Writes cells as they stream by; a context manager at whose end the file appears.

    Args:
        path: The file.
        taxonomy: Classes of the cells.
        mpp: Level-0 resolution, µm/px.
        metadata: More to say under the file's "histocyte" key, JSON-like.
        origin: Origin of the cells (`Cells.origin`).

    Raises:
        DiskError: The file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        taxonomy: Taxonomy,
        mpp: float,
        metadata: Mapping[str, object] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        self._path = path
        self._empty = Cells.empty(taxonomy, mpp, origin)
        self._about = {
            **(metadata or {}),
            "version": __version__,
            "mpp": mpp,
            "frame": "level 0",
            "origin": list(origin),
            "taxonomy": taxonomy.to_json(),
        }
        self._pending: list[pa.Table] = []
        self._rows = 0
        self._file: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None

    def write(self, cells: Cells) -> None:
        """Append cells. The file does not depend on how they are cut into tables.

        Raises:
            DiskError: The disk is full.
        """
        group = _ROW_GROUP if cells.embeddings is None else _ROW_GROUP_WITH_EMBEDDINGS
        for start in range(0, len(cells), group):
            some = cells if len(cells) <= group else cells.take(np.arange(start, min(len(cells), start + group)))
            self._pending.append(_table(some, first_id=self._rows))
            self._rows += len(some)
            if sum(len(t) for t in self._pending) >= group:
                table = pa.concat_tables(self._pending)
                self._write_group(table[:group])
                self._pending = [table[group:]]

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with write_atomically(self._path) as self._file:
            try:
                yield
                self._finish()
            except BaseException:
                if self._writer is not None:
                    # Close it while there is a file, or it tries when it is collected.
                    with suppress(DiskError):
                        self._writer.close()
                    self._writer.is_open = False
                raise

    def _finish(self) -> None:
        rest = pa.concat_tables(self._pending) if self._pending else None
        if self._writer is None or (rest is not None and len(rest)):
            self._write_group(rest if rest is not None else _table(self._empty, first_id=0))
        assert self._writer is not None
        self._writer.close()

    def _write_group(self, table: pa.Table) -> None:
        if self._writer is None:
            about = {"geo": json.dumps(_GEO), "histocyte": json.dumps(self._about)}
            self._writer = pq.ParquetWriter(self._file, table.schema.with_metadata(about), compression="zstd")
        self._writer.write_table(table, row_group_size=max(1, len(table)))


def write_parquet(path: Path, cells: Cells) -> None:
    """Write cells that are in memory (see `GeoParquetWriter`).

    Raises:
        DiskError: The file cannot be written.
    """
    with GeoParquetWriter(path, cells.taxonomy, cells.mpp, origin=cells.origin) as writer:
        writer.write(cells)


def iter_cells(path: Path | str, *, batch: int = _ROW_GROUP) -> Iterator[Cells]:
    """The cells of a file that `GeoParquetWriter` wrote, at most `batch` at a time.

    Raises:
        InputError: Not such a file.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no file {path}.")
    with _guarded(path), pq.ParquetFile(path) as file:
        about = json.loads(file.metadata.metadata[b"histocyte"])
        empty = _empty(about)
        for rows in file.iter_batches(batch):
            yield _cells(rows, empty)


def read_cells(path: Path | str) -> Cells:
    """All cells of a file that `GeoParquetWriter` wrote.

    Raises:
        InputError: Not such a file.
    """
    parts = list(iter_cells(path))
    if parts:
        return Cells.concatenate(parts)
    with _guarded(path):
        return _empty(json.loads(pq.read_metadata(path).metadata[b"histocyte"]))


def _guarded(path: Path | str) -> AbstractContextManager[None]:
    return foreign_parser(
        lambda why: InputError(
            f"{path} is not a table of cells by histocyte ({why}). Pass a cells.parquet of 'histocyte segment'."
        )
    )


def _empty(about: Mapping[str, Any]) -> Cells:
    return Cells.empty(Taxonomy.from_json(about["taxonomy"]), float(about["mpp"]), stated_origin(about))


def _table(cells: Cells, *, first_id: int) -> pa.Table:
    wkb, offsets = to_wkb(cells)
    kind = arrow_array(np.maximum(cells.class_index, 0).astype(np.int16))
    columns: dict[str, pa.Array] = {
        "id": arrow_array(np.arange(first_id, first_id + len(cells))),
        "x": arrow_array(np.ascontiguousarray(cells.xy[:, 0])),
        "y": arrow_array(np.ascontiguousarray(cells.xy[:, 1])),
        "geometry": pa.Array.from_buffers(
            pa.large_binary(), len(cells), [None, pa.py_buffer(offsets), pa.py_buffer(wkb)]
        ).cast(pa.binary()),
        "bbox": pa.StructArray.from_arrays([arrow_array(c) for c in _outward(cells.bounds()).T.copy()], _CORNERS),
    }
    for column in columns_of(classes=len(cells.taxonomy), vectors=cells.embeddings is not None):
        if column.name == "class_prob":
            names = arrow_texts(cells.taxonomy.names or ("cell",))
            columns["class"] = pa.DictionaryArray.from_arrays(kind, names)
        values = getattr(cells, column.attribute)
        columns[column.name] = arrow_array(values) if column.holds == "number" else arrow_rows(values)
    return pa.table(columns)


def _cells(rows: pa.RecordBatch, like: Cells) -> Cells:
    contour_xy, offsets = from_wkb(rows["geometry"].to_numpy(zero_copy_only=False))
    values: dict[str, Any] = {"probabilities": np.empty((len(rows), 0), np.float32)}
    for column in columns_of(classes=len(like.taxonomy), vectors="embeddings" in rows.schema.names):
        if column.derived:
            continue
        read = rows[column.name]
        values[column.attribute] = read.to_numpy() if column.holds == "number" else _matrix(read)
        one = values[column.attribute]
        if column.holds == "number" and not ((one >= 0) & (one <= column.most)).all():  # nor is NaN
            raise ValueError(f"a cell's {column.name} is not a possible number")
    xy = np.column_stack([rows["x"].to_numpy(), rows["y"].to_numpy()])
    return replace(like, xy=xy, contour_xy=contour_xy, contour_offsets=offsets, **values)


def _matrix(column: pa.Array) -> NDArray[np.float32]:
    return np.asarray(column.flatten().to_numpy(), np.float32).reshape(len(column), -1)


def _outward(bounds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Boxes in single precision that still hold all of the exact ones."""
    near = bounds.astype(np.float32)
    too_small = np.hstack([near[:, :2] > bounds[:, :2], near[:, 2:] < bounds[:, 2:]])
    limit = np.array([-np.inf, -np.inf, np.inf, np.inf], np.float32)
    return np.where(too_small, np.nextafter(near, limit), near)
