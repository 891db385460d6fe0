"""Label maps: images of ids (PNG, TIFF), NumPy's .npy and .npz, HoVer-Net's .mat."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histocyte.core.errors import InputError
from histocyte.core.instances import relabel_sequential
from histocyte.datasets.label_arrays import read_label_arrays, whole_ids
from histocyte.formats.foreign.contents import CellFile, Drawn

__all__ = ["LabelMap", "read_image", "read_mat", "read_npy", "read_npz", "read_tiff"]

_DENSE = 1 << 24
"""Ids up to here are looked up in an array; above they are sorted."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Cells by their pixels.

    Attributes:
        labels: (H, W) int32, 0 background, 1..N.
        count: N.
    """

    labels: NDArray[np.int32]
    count: int

    @property
    def size(self) -> tuple[int, int]:
        """H, W."""
        return self.labels.shape[0], self.labels.shape[1]

    def __len__(self) -> int:
        """Number of cells."""
        return self.count

    def draw(self, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> Drawn:
        """See `Shapes.draw`; none is hidden.

        Raises:
            InputError: The window is not all within the map.
        """
        (x, y), (height, width) = origin, shape
        if x < 0 or y < 0 or y + height > self.size[0] or x + width > self.size[1]:
            raise InputError(
                f"{width} × {height} px from ({x}, {y}) do not lie within {self.size[1]} × {self.size[0]} px."
            )
        labels = self.labels[y : y + height, x : x + width]
        absent = np.flatnonzero(np.bincount(labels.ravel(), minlength=self.count + 1)[1:] == 0)
        return Drawn(labels, np.empty(0, np.int64), absent)


def read_image(path: Path) -> CellFile:
    """A PNG of 8 or 16 bit.

    Raises:
        InputError: It cannot be read, or is no label map.
    """
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise InputError(f"'{path}' cannot be read as an image.")
    return _from_map(labels, None, path)


def read_tiff(path: Path) -> CellFile:
    """A TIFF of one page.

    Raises:
        InputError: It cannot be read, or is no label map.
    """
    import tifffile

    log = logging.getLogger("tifffile")
    was_off, log.disabled = log.disabled, True  # what it warns of is said below, in one line
    try:
        labels = tifffile.imread(path)
    except (OSError, ValueError, KeyError, IndexError, tifffile.TiffFileError) as error:
        raise InputError(f"'{path}' cannot be read as a TIFF ({error}).") from error
    finally:
        log.disabled = was_off
    if not labels.size:
        raise InputError(f"'{path}' cannot be read as a TIFF (it holds no page).")
    return _from_map(np.squeeze(labels), None, path)


def read_npy(path: Path) -> CellFile:
    """A NumPy array (H, W).

    Raises:
        InputError: It cannot be read, or is no label map.
    """
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"'{path}' cannot be read as an array ({error}).") from error
    return _from_map(labels, None, path)


def read_npz(path: Path) -> CellFile:
    """Arrays `inst` (H, W) and perhaps `type`, a class for each id (entry 0 unused).

    Raises:
        InputError: It cannot be read, or is no label map.
    """
    labels, types = read_label_arrays(path)
    return _from_map(labels, types, path)


def read_mat(path: Path) -> CellFile:
    """HoVer-Net's `inst_map` with `inst_type` (of the ids in `inst_uid`, else in ascending order) or `type_map`.

    Raises:
        InputError: It cannot be read, or is no label map.
    """
    from scipy.io import loadmat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about duplicate variables
            content: dict[str, Any] = loadmat(path, variable_names=("inst_map", "inst_type", "inst_uid", "type_map"))
    except NotImplementedError as error:
        raise InputError(f"'{path}' is a MATLAB file of version 7.3; save it as version 7.") from error
    except Exception as error:  # a cut file ends in errors of zlib, struct and more, each of its own kind
        raise InputError(f"'{path}' cannot be read as a MATLAB file ({error}).") from error
    if "inst_map" not in content:
        raise InputError(f"'{path}' has no 'inst_map'. Pass the .mat files of HoVer-Net.")
    labels = content["inst_map"]
    ids = whole_ids(labels, path).astype(np.int64)
    if "inst_type" in content:
        present = np.unique(ids[ids > 0])
        uid = np.asarray(content.get("inst_uid", present)).ravel().astype(np.int64)
        listed = np.asarray(content["inst_type"]).ravel()
        if len(listed) != len(uid) or (uid < 0).any():
            raise InputError(f"'{path}' has {len(listed)} classes in 'inst_type' for {len(uid)} cells.")
        types = np.zeros(int(max(ids.max(initial=0), uid.max(initial=0))) + 1, np.int64)
        types[uid] = listed
        return _from_map(labels, types, path)
    if "type_map" in content and np.shape(content["type_map"]) == ids.shape:
        small, old = relabel_sequential(ids.astype(np.int32))
        codes = np.asarray(content["type_map"], np.int64)
        types = np.zeros(int(ids.max(initial=0)) + 1, np.int64)
        for i, place in enumerate(ndimage.find_objects(small), 1):
            types[old[i]] = np.bincount(codes[place][small[place] == i]).argmax()
        return _from_map(labels, types, path)
    return _from_map(labels, None, path)


def _from_map(labels: NDArray[Any], types: NDArray[Any] | None, path: Path) -> CellFile:
    labels = whole_ids(labels, path)
    if labels.max(initial=0) <= _DENSE:
        small, old = relabel_sequential(labels.astype(np.int32))
        ids = old[1:]
    else:
        present, inverse = np.unique(labels, return_inverse=True)
        first = int(present[0] == 0)
        small = (inverse.reshape(labels.shape) + 1 - first).astype(np.int32)
        ids = present[first:].astype(np.int64)
    if len(ids) == 1 and ids[0] in (1, 255) and ndimage.label(small)[1] > 1:
        raise InputError(f"'{path}' is a mask of all cells; needed is a label map, an id for each cell.")
    codes = np.zeros(len(ids), np.int64)
    if types is not None:
        types = np.asarray(types).ravel()
        if types.dtype.kind not in "iu" or (len(ids) and len(types) <= ids[-1]) or (types < 0).any():
            raise InputError(f"'{path}': 'type' must have a code for each id up to {int(ids.max(initial=0))}.")
        codes = types[ids].astype(np.int64)
    return CellFile(path, LabelMap(small, len(ids)), codes, np.ones(len(ids), np.float32), {})
