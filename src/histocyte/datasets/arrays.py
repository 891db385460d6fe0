"""Arrays of labelled images on disk: those of sets too large for the memory, and those that are computed once."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from histocyte.datasets.sample import Sample
from histocyte.files.atomic import write_atomically

__all__ = ["ArrayStore", "read_arrays", "sample_sha256", "write_arrays"]

_Array = TypeVar("_Array", bound=NDArray[Any])

_IN_MEMORY = 1 << 29
_PIECE = 1 << 28
_LINE = 64
"""Arrays begin at multiples of so many bytes, as those in memory do."""


class ArrayStore:
    """Holds the arrays of many images: in memory as long as they are few, and from there on in files.

    What is in a file is mapped into memory as it is read, so that the system holds as much of it as there is room for
    and nothing has to be decoded again. The files lie in the folder for temporary files, without a name: they are gone
    with the arrays, however the process ends.

    Args:
        in_memory: Bytes that are held in memory.
        piece: Bytes of a file.
    """

    def __init__(self, in_memory: int = _IN_MEMORY, piece: int = _PIECE) -> None:
        self._left, self._piece = in_memory, piece
        self._file: mmap.mmap | None = None
        self._used = 0

    def keep(self, array: _Array) -> _Array:
        """The same array, or one with its values that is held in a file; in memory still where there is no room."""
        if array.nbytes <= self._left:
            self._left -= array.nbytes
            return array
        self._left = 0  # small arrays that come later would fill it up one by one
        place = self._place(array.nbytes)
        if place is None:
            return array
        file, start = place
        kept = np.frombuffer(file, array.dtype, math.prod(array.shape), start).reshape(array.shape)
        kept[...] = array
        return kept  # type: ignore[return-value]

    def _place(self, size: int) -> tuple[mmap.mmap, int] | None:
        """A file with room for so many bytes, and where they begin; None where the disk has none."""
        start = -(-self._used // _LINE) * _LINE
        if self._file is None or start + size > len(self._file):
            self._release()
            try:
                self._file, start = _mapped(max(size, self._piece)), 0
            except OSError:
                self._file = None
                return None
        self._used = start + size
        return self._file, start

    def _release(self) -> None:
        """Let the system hold a full file as it sees fit; it comes back when it is read."""
        if self._file is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._file.madvise(mmap.MADV_DONTNEED)


def _mapped(size: int) -> mmap.mmap:
    """A file of a size, all of it on the disk.

    Raises:
        OSError: There is no room for it.
    """
    with tempfile.TemporaryFile(prefix="histocyte-") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))
            file.flush()
        return mmap.mmap(file.fileno(), size)


def sample_sha256(sample: Sample) -> str:
    """Names an image with its labels."""
    digest = hashlib.sha256(f"{sample.source} {sample.name} {sample.mpp:g} {sample.image.shape}\n".encode())
    digest.update(np.ascontiguousarray(sample.image).data)
    digest.update(np.ascontiguousarray(sample.instances).data)
    digest.update(b"" if sample.types is None else sample.types.tobytes())
    return digest.hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a file of named arrays, whole or not at all.

    Raises:
        DiskError: It cannot be written.
    """
    with write_atomically(path) as file:
        np.savez(file, **arrays)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
    """The arrays of a file; None where it is not there, cut off, or lacks one, so that they are computed again."""
    with suppress(Exception), path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
        return {name: file[name] for name in names}
    return None
