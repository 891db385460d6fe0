"""Which images there is truth of, what is known of each, and which file of found cells goes with it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.folder import card_for
from histocyte.datasets.image_table import IMAGE_SUFFIXES, ImageTable
from histocyte.evaluation.class_mapping import names_in
from histocyte.evaluation.image_scores import ImageInfo
from histocyte.formats.foreign.contents import CellFile
from histocyte.formats.foreign.open import find_cells, open_cells

__all__ = ["TrueImage", "class_names_of", "pair_files", "picture_size", "read_picture", "true_images"]


@dataclass(frozen=True, slots=True)
class TrueImage:
    """A file of true cells and what is known of its image.

    Attributes:
        name: Name of the image.
        path: The cells.
        picture: The image beside them, if there is one.
        card: What is known of the data set, if it is known by name.
        folder: Where it lies.
        group: Patient or case as the folder's images.csv has it; empty where it does not say.
        tissue: Likewise.
    """

    name: str
    path: Path
    picture: Path | None
    card: DatasetCard | None
    folder: Path
    group: str = ""
    tissue: str = ""

    def read(self) -> CellFile:
        """The cells.

        Raises:
            InputError: The file is broken.
        """
        return open_cells(self.path, names=None if self.card is None else dict(enumerate(self.card.classes, 1)))

    def info(self, mpp: float | None) -> ImageInfo:
        """Name, source, group, resolution and tissue.

        Raises:
            InputError: The resolution is not known.
        """
        card = card_for(self.folder, mpp=mpp)
        group, resolution = self.group or card.group(self.name), card.mpp_by_image.get(self.name, card.mpp)
        return ImageInfo(self.name, card.name, group, resolution, self.tissue)


def true_images(truth: Path) -> list[TrueImage]:
    """The images of a folder or file of true cells.

    Raises:
        InputError: There are none, or the folder's images.csv is broken.
    """
    images = []
    folder = truth if truth.is_dir() else truth.parent
    card, table = DATASETS.get(folder.resolve().name), ImageTable.read(folder)
    for name, path in find_cells(truth).items():
        pictures = [path.parent / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
        picture = next((p for p in pictures if p != path and p.is_file()), None)
        images.append(TrueImage(name, path, picture, card, folder, table.group(name), table.tissue(name)))
    return images


def pair_files(predictions: Path, images: Sequence[TrueImage], truth: Path) -> list[Path]:
    """The file of found cells of each image, by name; one file goes with one file whatever their names.

    Raises:
        InputError: An image has none.
    """
    found = find_cells(predictions)
    if len(found) == len(images) == 1 and not (predictions.is_dir() and truth.is_dir()):
        return list(found.values())
    missing = [image.name for image in images if image.name not in found]
    if missing:
        raise InputError(
            f"'{predictions}' has no file for {len(missing)} of {len(images)} images: {', '.join(missing[:5])}. "
            f"It has {', '.join(list(found)[:5])}. Names must agree; where nothing was found, an empty file is needed."
        )
    return [found[image.name] for image in images]


def class_names_of(images: Sequence[TrueImage]) -> tuple[str, ...]:
    """The classes of all true cells, in the order of their codes where files have codes; empty if there are none.

    Raises:
        InputError: A file is broken.
    """
    names: dict[str, str] = {}
    for image in images:
        cells = image.read()
        if cells.types.any():
            for name in names_in(cells):
                names.setdefault(name.lower(), name)
    return tuple(names.values())


def picture_size(path: Path) -> tuple[int, int]:
    """H, W of an image, without reading its pixels.

    Raises:
        InputError: It is no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return picture.height, picture.width
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"'{path}' cannot be read as an image ({error}).") from error


def read_picture(path: Path | None) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 RGB of an image, None if there is none or it cannot be read."""
    pixels = None if path is None else cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if pixels is None else np.ascontiguousarray(pixels[..., ::-1])
