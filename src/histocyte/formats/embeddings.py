"""Vectors of cells as one plain array, row i for row i of cells.parquet: `numpy.load(path, mmap_mode="r")` opens it.

Half precision, which is what the network's features are kept in; nothing but the rows asked for is ever read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from histocyte.core.cells import Cells
from histocyte.files.atomic import write_atomically
from histocyte.formats.cell_writer import CellWriter

__all__ = ["EmbeddingsWriter"]


class EmbeddingsWriter(CellWriter):
    """Writes (N, D) float16 as cells stream by; a context manager at whose end the file appears.

    Args:
        path: The .npy file.
        width: D.

    Raises:
        DiskError: The file cannot be written.
    """

    def __init__(self, path: Path, width: int) -> None:
        self._path, self._width, self._rows = path, width, 0
        self._file: BinaryIO | None = None

    def write(self, cells: Cells) -> None:
        """Append the vectors of cells.

        Raises:
            ValueError: Cells without vectors.
        """
        if len(cells) == 0:
            return
        if cells.embeddings is None or self._file is None:
            raise ValueError("These cells have no vectors, or the file is not open.")
        self._file.write(np.ascontiguousarray(cells.embeddings, np.float16).tobytes())
        self._rows += len(cells)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with write_atomically(self._path) as self._file:
            self._header(0)
            begin = self._file.tell()
            yield
            # numpy pads its headers so that the number of rows may grow in place.
            self._file.seek(0)
            self._header(self._rows)
            assert self._file.tell() == begin

    def _header(self, rows: int) -> None:
        assert self._file is not None
        facts = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, {**facts, "shape": (rows, self._width)})
