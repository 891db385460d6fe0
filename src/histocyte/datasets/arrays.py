"""Arrays that were computed for a labelled image, kept on disk so that they are computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.datasets.sample import Sample
from histocyte.files.atomic import write_atomically

__all__ = ["read_arrays", "sample_sha256", "write_arrays"]


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
