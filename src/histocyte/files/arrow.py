"""Arrays of numpy as Arrow's and back.

Without `pyarrow.array` and `to_numpy`: those import pandas wherever it is installed, which takes longer than many a
job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["arrow_array", "arrow_rows", "arrow_texts", "numpy_array"]


def arrow_array(values: NDArray[np.generic]) -> pa.Array:
    """Values (N,), of numbers or flags, as an Arrow array of the same type; what is contiguous is not copied."""
    if values.dtype == np.bool_:
        bits = np.packbits(values.view(np.uint8), bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    plain = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), len(plain), [None, pa.py_buffer(plain)])


def arrow_rows(matrix: NDArray[np.generic]) -> pa.Array:
    """A matrix (N, D) as N lists of D values."""
    return pa.FixedSizeListArray.from_arrays(arrow_array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1])


def arrow_texts(texts: Sequence[str]) -> pa.Array:
    """Texts as an Arrow array of strings."""
    written = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, written)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(written), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(written))]
    )


def numpy_array(column: pa.Array) -> NDArray[Any]:
    """An Arrow array of numbers or flags (N,), none of them missing, as numpy's of the same type.

    Raises:
        ValueError: Values are missing.
    """
    if column.null_count:
        raise ValueError(f"{column.null_count:,} values are missing.")
    if not len(column):
        return np.empty(0, column.type.to_pandas_dtype())
    start, stop = column.offset, column.offset + len(column)
    if pa.types.is_boolean(column.type):
        bits = np.frombuffer(column.buffers()[1], np.uint8)
        return np.unpackbits(bits, count=stop, bitorder="little")[start:].astype(np.bool_)
    return np.frombuffer(column.buffers()[1], column.type.to_pandas_dtype(), count=stop)[start:]
