"""Label maps: images of ids (PNG, TIFF), NumPy's .npy and .npz, HoVer-Net's .mat.

An id is the number that the file stores: of a palette its index, of grey with alpha the grey, whatever the file says of
how it is to be shown.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histocyte.core.errors import InputError
from histocyte.core.names import counted
from histocyte.datasets.label_arrays import LabelArray, check_shape, label_array, read_array, read_label_arrays
from histocyte.files.foreign import foreign_parser
from histocyte.formats.foreign.contents import CellFile, Drawn
from histocyte.slides.png import GREY, GREY_WITH_ALPHA, PALETTE, check_png, png_kind, png_of_16_bits
from histocyte.slides.tiff_header import keyframe_of, open_tiff
from histocyte.slides.tiff_pieces import check_packed

__all__ = ["LabelMap", "read_image", "read_mat", "read_npy", "read_npz", "read_tiff"]

_MAT_ARRAYS = ("inst_map", "inst_type", "inst_uid", "type_map")


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
    """A PNG of grey, grey with alpha or a palette.

    Raises:
        InputError: It cannot be read, or is not a label map.
    """
    with (
        foreign_parser(lambda why: InputError(f"'{path}' cannot be read as an image ({why}).")),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        check_png(path)
        bits, colour = png_kind(path)
        with Image.open(path, formats=("PNG",)) as image:
            if (n_frames := getattr(image, "n_frames", 1)) > 1:
                raise InputError(f"'{path}' holds {n_frames} pictures; needed is one label map.")
            if colour not in {GREY, GREY_WITH_ALPHA, PALETTE}:
                raise InputError(
                    f"'{path}' is a picture in colour ({image.mode}); needed is a label map: an id for each cell."
                )
            labels = png_of_16_bits(path) if bits == 16 else np.asarray(image)
    if colour == GREY_WITH_ALPHA and (labels[..., 0][labels[..., 1] == 0] > 0).any():
        raise InputError(f"'{path}' has ids where it is transparent. Save the label map without an alpha channel.")
    return _from_map(label_array(labels[..., 0] if labels.ndim == 3 else labels, path), None, path)


def read_tiff(path: Path) -> CellFile:
    """A TIFF of one page.

    Raises:
        InputError: It cannot be read, or is not a label map.
        MissingExtraError: Its compression needs the extra `tiff`.
    """
    with (
        foreign_parser(lambda why: InputError(f"'{path}' cannot be read as a TIFF ({why}).")),
        open_tiff(path) as file,
    ):
        if len(file.series) != 1:
            there = f"{len(file.series)} images; needed is one label map" if file.series else "no page"
            raise InputError(f"'{path}' cannot be read as a TIFF of labels: it holds {there}.")
        check_shape(file.series[0].shape, path)
        for page in file.series[0].pages:
            key = keyframe_of(page)
            for place, size in zip(page.dataoffsets, page.databytecounts, strict=True) if page else ():
                file.filehandle.seek(place)
                check_packed(file.filehandle.read(size), key)
        labels = np.squeeze(file.series[0].asarray())
    return _from_map(label_array(labels, path), None, path)


def read_npy(path: Path) -> CellFile:
    """A NumPy array (H, W).

    Raises:
        InputError: It cannot be read, or is not a label map.
    """
    return _from_map(label_array(read_array(path), path), None, path)


def read_npz(path: Path) -> CellFile:
    """Arrays `inst` (H, W) and perhaps `type`, a class for each id (entry 0 unused).

    Raises:
        InputError: It cannot be read, or is not a label map.
    """
    inst, types = read_label_arrays(path)
    found = label_array(inst, path)
    if types is None:
        return _from_map(found, None, path)
    types = types.ravel()
    if types.dtype.kind not in "iu" or (len(found.ids) and len(types) <= found.ids[-1]) or (types < 0).any():
        raise InputError(f"'{path}': 'type' must have a code for each id up to {int(found.ids.max(initial=0))}.")
    return _from_map(found, types[found.ids].astype(np.int64), path)


def read_mat(path: Path) -> CellFile:
    """HoVer-Net's `inst_map` with `inst_type` (of the ids in `inst_uid`, else in ascending order) or `type_map`.

    Raises:
        InputError: It cannot be read, or is not a label map.
    """
    content = _mat_arrays(path)
    if "inst_map" not in content:
        raise InputError(f"'{path}' has no 'inst_map'. Pass the .mat files of HoVer-Net.")
    found = label_array(content["inst_map"], path)
    if "inst_type" in content:
        with foreign_parser(
            lambda why: InputError(f"'{path}': 'inst_type' or 'inst_uid' are no whole numbers ({why}).")
        ):
            listed = np.asarray(content["inst_type"]).ravel().astype(np.int64)
            uid = np.asarray(content.get("inst_uid", found.ids)).ravel().astype(np.int64)
        if len(listed) != len(uid) or (uid < 0).any() or (listed < 0).any():
            raise InputError(
                f"'{path}' has {counted(len(listed), 'class')} in 'inst_type' for {counted(len(uid), 'cell')}."
            )
        return _from_map(found, _looked_up(found.ids, uid, listed), path)
    if "type_map" in content and np.shape(content["type_map"]) == found.labels.shape:
        with foreign_parser(lambda why: InputError(f"'{path}': 'type_map' holds no class codes ({why}).")):
            values = np.asarray(content["type_map"]).astype(np.int64)
            places = ndimage.find_objects(found.labels)
            codes = [np.bincount(values[p][found.labels[p] == i]).argmax() for i, p in enumerate(places, 1)]
        return _from_map(found, np.array(codes, np.int64), path)
    return _from_map(found, None, path)


def _mat_arrays(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat, whosmat

    with (
        foreign_parser(lambda why: InputError(f"'{path}' cannot be read as a MATLAB file ({why}).")),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # about duplicate variables
        try:
            for name, shape, _ in whosmat(path):
                if name in _MAT_ARRAYS:
                    check_shape(shape, path)
            content: dict[str, Any] = loadmat(path, variable_names=_MAT_ARRAYS)
        except NotImplementedError as error:
            raise InputError(f"'{path}' is a MATLAB file of version 7.3; save it as version 7.") from error
    return content


def _looked_up(ids: NDArray[np.int64], uid: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The code of each id; 0 where it is not listed."""
    if not len(uid):
        return np.zeros(len(ids), np.int64)
    order = np.argsort(uid, kind="stable")
    place = order[np.minimum(np.searchsorted(uid[order], ids), len(uid) - 1)]
    return np.where(uid[place] == ids, codes[place], 0)


def _from_map(found: LabelArray, codes: NDArray[np.int64] | None, path: Path) -> CellFile:
    count = len(found.ids)
    types = np.zeros(count, np.int64) if codes is None else codes
    return CellFile(path, LabelMap(found.labels, count), types, np.ones(count, np.float32), {}, notes=found.notes)
