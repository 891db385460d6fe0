"""Label arrays as they lie in files: read within bounds, and refused unless they hold an id for each cell."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import relabel_sequential
from histocyte.core.labels import far_pieces
from histocyte.files.foreign import foreign_parser, refuse_broken_link

__all__ = [
    "MOST_LABEL_PIXELS",
    "LabelArray",
    "check_shape",
    "label_array",
    "read_array",
    "read_dots",
    "read_label_arrays",
]

MOST_LABEL_PIXELS = 1 << 28
"""16,384 × 16,384: scoring takes some tens of bytes a pixel."""

_MOST_VALUE_BYTES = 8
_DENSE = 1 << 24
"""Ids up to here are looked up in an array; above they are sorted."""

_SHARED_CELLS = 10
_SHARED_SHARE = 0.02
"""From this many cells that share an id on, and this share of the ids, it is no slip of the hand."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelArray:
    """A label map that was checked.

    Attributes:
        labels: (H, W) int32, 0 background, 1..N in the order of the file's ids.
        ids: (N,) int64 what the file calls them.
        notes: What its user should know, in sentences.
    """

    labels: NDArray[np.int32]
    ids: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def label_array(labels: NDArray[Any], path: Path) -> LabelArray:
    """What a file has as its label map, if it holds an id for each cell.

    Ids may be any whole numbers from 0 up, 0 the background, also as floating-point numbers that are whole. An id
    whose pieces lie far apart (`core.labels.far_pieces`) stands for several cells: the map is a mask, shows classes, or
    had more cells than its bits can number and restarted. That is refused; a slip of the hand is noted.

    Args:
        labels: As the file has it.
        path: For messages.

    Raises:
        InputError: It holds no ids, or many cells share one; the message says what is wrong.
    """
    labels = _whole_numbers(labels, path)
    if labels.max() <= _DENSE:
        small, old = relabel_sequential(labels.astype(np.int32))
        ids = old[1:]
    else:
        present, inverse = np.unique(labels, return_inverse=True)
        first = int(present[0] == 0)
        small = (inverse.reshape(labels.shape) + 1 - first).astype(np.int32)
        ids = present[first:].astype(np.int64)
    return LabelArray(small, ids, _shared_ids(small, ids, path))


def _whole_numbers(labels: NDArray[Any], path: Path) -> NDArray[Any]:
    if labels.ndim != 2 or not labels.size:
        shape = " × ".join(map(str, labels.shape)) or "a single number"
        what = f"{shape}, a picture or several" if labels.ndim == 3 else shape
        raise InputError(f"'{path}' is {what}; needed is a label map (H, W), an id for each cell.")
    if labels.size > MOST_LABEL_PIXELS:
        raise InputError(f"'{path}' is {labels.shape[1]:,} × {labels.shape[0]:,} px, too many for one label map.")
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all():
        exact = 2 ** (np.finfo(labels.dtype).nmant + 1)
        if np.abs(labels).max() >= min(exact, 1 << 62):
            raise InputError(
                f"'{path}' holds ids up to {labels.max():.0f} as {labels.dtype}, which tells whole numbers apart only "
                f"below {exact:,}: cells may have been merged. Save the ids as whole numbers (int32)."
            )
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "b":
        raise InputError(f"'{path}' is a mask of true and false; needed is a label map, an id for each cell.")
    if labels.dtype.kind not in "iu":
        raise InputError(f"'{path}' holds {labels.dtype}, needed are whole numbers: an id for each cell.")
    if labels.min() < 0:
        raise InputError(f"'{path}' holds negative ids; 0 is the background.")
    return labels


def _shared_ids(labels: NDArray[np.int32], ids: NDArray[np.int64], path: Path) -> tuple[str, ...]:
    """Notes of ids that several cells share.

    Raises:
        InputError: It is no slip.
    """
    n = len(ids)
    more = far_pieces(labels, diameters=0 if n == 1 else 3)[1:]
    extra, shared = int(more.sum()), int((more > 0).sum())
    if not extra:
        return ()
    if n == 1:
        raise InputError(
            f"'{path}' is a mask: one id ({ids[0]}) for {extra + 1} pieces. Needed is a label map, an id for each "
            "cell; where no two cells touch, skimage.measure.label(mask) makes one."
        )
    in_pieces = f"'{path}': {shared} of {n} ids lie in pieces far apart"
    bits = next((bits for bits in (8, 16) if n == int(ids[-1]) == 2**bits - 1), None)
    if bits is not None or shared == n or extra >= max(_SHARED_CELLS, _SHARED_SHARE * n):
        why = f"numbers of {bits} bits that restarted" if bits else "classes, or numbers that restarted"
        raise InputError(
            f"{in_pieces}, so several cells share an id ({why}). Needed is an id for each cell: save the label map "
            "with 32 bits, or as .npy or .npz."
        )
    return (f"{in_pieces}, such as id {ids[int(more.argmax())]}; each counts as one cell.",)


def read_array(path: Path) -> NDArray[Any]:
    """The array of an .npy file.

    Raises:
        InputError: It cannot be read, is too large, or holds Python objects.
    """
    with foreign_parser(lambda why: InputError(f"'{path}' cannot be read as an array ({why}).")):
        with path.open("rb") as file:
            _check_header(file, path.stat().st_size, path)
        with path.open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def read_label_arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """`inst` and, where there is one, `type` of an .npz file, as they are.

    Raises:
        InputError: It cannot be read, has no `inst`, or is too large.
    """
    refuse_broken_link(path)
    needed = "Needed: an array 'inst' (H, W), optionally 'type'."
    with (
        foreign_parser(lambda why: InputError(f"'{path}' is no label file ({why}). {needed}")),
        zipfile.ZipFile(path) as archive,
    ):
        inst = _member(archive, "inst", path)
        if inst is None:
            has = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:9]) or "none"
            raise InputError(f"'{path}' has no array 'inst'; it has {has}. {needed}")
        return inst, _member(archive, "type", path)


def read_dots(path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """`points`, (N, 2) x and y in px, and `type`, (N,), of an .npz file.

    Raises:
        InputError: It cannot be read, or they are not there or not of these shapes.
    """
    form = "an array 'points' (N, 2), x and y in px, and 'type' (N,)"
    with (
        foreign_parser(lambda why: InputError(f"'{path}' is not a file of dots ({why}). Needed: {form}.")),
        zipfile.ZipFile(path) as archive,
    ):
        points, types = _member(archive, "points", path), _member(archive, "type", path)
    if points is None or types is None:
        raise InputError(f"'{path}' is not a file of dots. Needed: {form}.")
    fits = points.ndim == 2 and points.shape[1:] == (2,) and types.shape == points.shape[:1]
    if not fits or points.dtype.kind not in "iuf" or types.dtype.kind not in "iu" or not np.isfinite(points).all():
        raise InputError(f"'{path}' has points {points.shape} and types {types.shape}. Needed: {form}.")
    return points.astype(np.float64), types


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any] | None:
    stored = f"{name}.npy"
    if stored not in archive.namelist():
        return None
    with archive.open(stored) as file:
        _check_header(file, archive.getinfo(stored).file_size, path)
    with archive.open(stored) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _check_header(file: IO[bytes], size_bytes: int, path: Path) -> None:
    """Ask what an array says of itself before memory is taken for it.

    Raises:
        InputError: It is too large, is cut off, or holds Python objects.
        Exception: It is none.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        way = "Save the label map alone, as an array of whole numbers."
        if path.stem.endswith("_seg"):
            way = (
                "Cellpose keeps its label map in it: save that alone with cellpose --save_tif or --save_png, or "
                "np.save('labels.npy', np.load(file, allow_pickle=True).item()['masks'])."
            )
        raise InputError(f"'{path}' holds Python objects, which are never read as they can run code. {way}")
    check_shape(shape, path)
    n_bytes = math.prod(shape) * dtype.itemsize
    if dtype.itemsize > _MOST_VALUE_BYTES:
        raise InputError(f"'{path}' holds {dtype}, needed are whole numbers: an id for each cell.")
    if size_bytes - file.tell() < n_bytes:
        raise InputError(f"'{path}' is cut off: {n_bytes:,} bytes of numbers are stated. Copy or export it again.")


def check_shape(shape: Sequence[int], path: Path) -> None:
    """Refuse an array by what its file says of its shape.

    Raises:
        InputError: It has more numbers than a label map may.
    """
    if math.prod(shape) > MOST_LABEL_PIXELS:
        stated = " × ".join(f"{side:,}" for side in shape)
        raise InputError(f"'{path}' states {stated} numbers; a label map has {MOST_LABEL_PIXELS:,} at most.")
