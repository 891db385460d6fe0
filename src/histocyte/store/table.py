"""Cells as Arrow IPC bytes with a checksum: the inside of one journal file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from histocyte.core.cell_columns import columns_of
from histocyte.core.cells import Cells
from histocyte.core.errors import reason_of
from histocyte.core.taxonomy import Taxonomy
from histocyte.files.arrow import arrow_array, arrow_rows, numpy_array

__all__ = ["pack", "unpack"]

_DIGEST_BYTES = hashlib.sha256().digest_size


def pack(cells: Cells, in_band: NDArray[np.bool_], stats: Mapping[str, object], *, origin: str = "") -> bytes:
    """All columns of `cells`, the (N,) flag `in_band` and `stats` (JSON-like) as an Arrow IPC stream.

    The SHA-256 of the stream follows it; Arrow readers stop before it.

    Args:
        cells: N cells.
        in_band: (N,) a flag of each.
        stats: JSON-like.
        origin: Where they come from, which `unpack` holds against what it is to read.
    """
    columns = {
        "x": arrow_array(cells.xy[:, 0]),
        "y": arrow_array(cells.xy[:, 1]),
        "contour": _ragged(cells.contour_xy, cells.contour_offsets),
        "in_band": arrow_array(in_band),
    }
    for column in columns_of(classes=len(cells.taxonomy), vectors=cells.embeddings is not None):
        if not column.derived:
            values = getattr(cells, column.attribute)
            columns[column.name] = arrow_array(values) if column.holds == "number" else arrow_rows(values)
    about = {"taxonomy": cells.taxonomy.to_json(), "mpp": cells.mpp, "stats": dict(stats), "origin": origin}
    batch = pa.record_batch(columns).replace_schema_metadata(
        {"histocyte": orjson.dumps(about, option=orjson.OPT_SERIALIZE_NUMPY)}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue().to_pybytes()
    return bytes(stream + hashlib.sha256(stream).digest())


def unpack(packed: bytes, *, origin: str = "") -> tuple[Cells, NDArray[np.bool_], dict[str, object]]:
    """Read back what `pack` wrote: cells, `in_band` and stats.

    Raises:
        ValueError: The bytes are cut off or damaged, or of another origin.
    """
    stream = memoryview(packed)[:-_DIGEST_BYTES]
    if hashlib.sha256(stream).digest() != packed[-_DIGEST_BYTES:]:
        raise ValueError("The checksum does not fit.")
    try:
        return _unpacked(stream, origin)
    except Exception as error:  # whatever Arrow stumbles over in damage that its checksum does not show
        raise ValueError(reason_of(error)) from error


def _unpacked(stream: memoryview, origin: str) -> tuple[Cells, NDArray[np.bool_], dict[str, object]]:
    with pa.ipc.open_stream(stream) as reader:
        batch = reader.read_next_batch()
    about = orjson.loads(batch.schema.metadata[b"histocyte"])
    if about.get("origin", "") != origin:
        raise ValueError(f"It is {about.get('origin') or 'of unknown origin'}.")
    rings = batch["contour"]
    taxonomy = Taxonomy.from_json(about["taxonomy"])
    values: dict[str, Any] = {"probabilities": np.empty((len(batch), 0), np.float32)}
    for column in columns_of(classes=len(taxonomy), vectors="embeddings" in batch.schema.names):
        if not column.derived:
            read = batch[column.name]
            values[column.attribute] = numpy_array(read) if column.holds == "number" else _rows(read)
    cells = replace(
        Cells.empty(taxonomy, float(about["mpp"])),
        xy=np.column_stack([numpy_array(batch["x"]), numpy_array(batch["y"])]),
        contour_xy=numpy_array(rings.values.flatten()).reshape(-1, 2),
        contour_offsets=numpy_array(rings.offsets),
        **values,
    )
    return cells, numpy_array(batch["in_band"]), about["stats"]


def _ragged(points: NDArray[np.float64], offsets: NDArray[np.int64]) -> pa.Array:
    return pa.LargeListArray.from_arrays(arrow_array(offsets.astype(np.int64, copy=False)), arrow_rows(points))


def _rows(column: pa.Array) -> NDArray[np.float32]:
    return numpy_array(column.flatten()).reshape(len(column), column.type.list_size)
