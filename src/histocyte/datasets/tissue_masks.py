"""Labels of tissue: NAME_mask.png beside the image NAME, a class in each pixel, or an id for each gland."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histocyte.core.errors import InputError
from histocyte.datasets.class_list import CLASSES_FILE, fact_of
from histocyte.datasets.label_arrays import check_shape
from histocyte.files.foreign import foreign_parser, refuse_broken_link

__all__ = [
    "MASK_ENDING",
    "Areas",
    "code_map",
    "codes_of",
    "ignored_codes",
    "is_mask",
    "labelled_name",
    "read_mask",
    "stated_areas",
]

MASK_ENDING = "_mask.png"

Areas = Literal["", "classes", "objects"]
"""What pixels of a mask hold: a class, or an id for each object such as a gland, all of one class; "" for no mask."""


def is_mask(path: Path) -> bool:
    """Whether a file is a mask by its name."""
    return path.name.lower().endswith(MASK_ENDING) and len(path.name) > len(MASK_ENDING)


def labelled_name(labels: Path) -> str:
    """The name, without ending, of the image that a label file belongs to.

    >>> labelled_name(Path("a/tile_1_mask.png")), labelled_name(Path("tile_2.npz"))
    ('tile_1', 'tile_2')
    """
    return labels.name[: -len(MASK_ENDING)] if is_mask(labels) else labels.stem


def read_mask(path: Path, shape: tuple[int, int], areas: Areas) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """A mask as a label map and the class code of each of its ids.

    Args:
        path: Path of the mask.
        shape: (H, W) of its image.
        areas: What its pixels hold.

    Returns:
        (H, W) int32 and (N + 1,) codes: of a mask of classes the ids are the codes, of one of objects each code is 1.

    Raises:
        InputError: It cannot be read, is in colours, or has another size than its image.
    """
    labels = code_map(path)
    if labels.shape != shape:
        raise InputError(f"'{path}' is {labels.shape}, its image {shape}; they must agree.")
    return labels, codes_of(labels, areas)


def code_map(path: Path) -> NDArray[np.int32]:
    """(H, W) the numbers that a PNG, BMP or TIFF of one channel or with a palette stores; of a palette its indices.

    Raises:
        InputError: It cannot be read, is in colours, or is too large.
    """
    refuse_broken_link(path)
    with (
        foreign_parser(lambda why: InputError(f"'{path}' cannot be read as a mask ({why}).")),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG", "BMP", "TIFF")) as image:
            check_shape((image.height, image.width), path)
            codes = np.asarray(image)
    if codes.ndim != 2:
        raise InputError(
            f"'{path}' is a picture in colours; a mask is an image of one channel with a class code or an id in each "
            "pixel."
        )
    return codes.astype(np.int32)


def codes_of(mask: NDArray[np.integer], areas: Areas) -> NDArray[np.int64]:
    """(N + 1,) class code of each id of a mask, 0 for those that it does not have; of objects 1 each."""
    there = np.bincount(mask.ravel(), minlength=1) > 0
    codes = np.where(there, np.arange(len(there)), 0)
    return np.minimum(codes, 1) if areas == "objects" else codes


def stated_areas(folder: Path) -> Areas:
    """What the masks of a folder that is no known set hold: "objects" where classes.json says so under "mask".

    Raises:
        InputError: classes.json cannot be read.
    """
    path = folder / CLASSES_FILE
    if not any(is_mask(file) for file in folder.iterdir()) or any(f.suffix.lower() == ".npz" for f in folder.iterdir()):
        return ""
    return "objects" if path.is_file() and fact_of(path, "mask") == "objects" else "classes"


def ignored_codes(folder: Path) -> tuple[int, ...]:
    """Codes of pixels of which nobody said what they are: a list under "ignored" in classes.json.

    Raises:
        InputError: It cannot be read, or holds something else than codes from 0 to 255.
    """
    path = folder / CLASSES_FILE
    codes = fact_of(path, "ignored") if path.is_file() else None
    if codes is None:
        return ()
    if not isinstance(codes, list) or not all(type(code) is int and 0 <= code <= 255 for code in codes):
        raise InputError(f"'{path}' states {codes!r:.60} as ignored; needed is a list of codes, e.g. [255].")
    return tuple(codes)
