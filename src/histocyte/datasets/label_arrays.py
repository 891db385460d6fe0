"""Label arrays as they lie in files: read, and refused unless they hold ids of cells."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError

__all__ = ["read_label_arrays", "whole_ids"]


def read_label_arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """`inst` and, where there is one, `type` of an .npz file, as they are.

    Raises:
        InputError: It cannot be read, or has no `inst`.
    """
    try:
        # NumPy leaves a broken file open that it opened itself.
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            if "inst" not in file.files:
                raise InputError(f"'{path}' has no array 'inst'; it has {', '.join(file.files) or 'none'}.")
            return file["inst"], file["type"] if "type" in file.files else None
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"'{path}' is no label file ({error}). Needed: an array 'inst' (H, W), optionally 'type'."
        ) from error


def whole_ids(labels: NDArray[Any], path: Path) -> NDArray[Any]:
    """A label map, if it holds ids of cells; floating-point numbers that are whole become int64.

    Raises:
        InputError: It does not; the message says why not.
    """
    if labels.ndim != 2 or not labels.size:
        shape = " × ".join(map(str, labels.shape)) or "a single number"
        what = f"{shape}, a picture" if labels.ndim == 3 else shape
        raise InputError(f"'{path}' is {what}; needed is a label map (H, W).")
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels).all() and (labels == np.rint(labels)).all() and np.abs(labels).max(initial=0) < 2e9
        labels = labels.astype(np.int64) if whole else labels
    if labels.dtype.kind not in "iu":
        raise InputError(f"'{path}' holds {labels.dtype}, needed are whole numbers: an id for each cell.")
    if labels.min() < 0:
        raise InputError(f"'{path}' holds negative ids; 0 is the background.")
    return labels
