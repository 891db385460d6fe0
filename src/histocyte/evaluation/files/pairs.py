"""Which images there is truth of, what is known of each, and which file of found cells goes with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.names import counted
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.folder import card_for
from histocyte.datasets.image_table import ImageTable
from histocyte.evaluation.files.classes import names_in
from histocyte.evaluation.image_scores import ImageInfo
from histocyte.files.foreign import MOST_PICTURE_PIXELS
from histocyte.formats.foreign.contents import CellFile
from histocyte.formats.foreign.open import find_cells, open_cells
from histocyte.slides.picture import picture_size, pictures_in, read_picture

__all__ = ["TrueImage", "class_names_of", "pair_files", "picture_of", "true_images"]


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
        tissue: Tissue, in the same way.
        alone: Whether this one file was asked for: then it is a set of its own, and not its folder.
    """

    name: str
    path: Path
    picture: Path | None
    card: DatasetCard | None
    folder: Path
    group: str = ""
    tissue: str = ""
    alone: bool = False

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
        source = self.name if self.alone and self.card is None else card.name
        return ImageInfo(self.name, source, group, resolution, self.tissue)


def true_images(truth: Path) -> list[TrueImage]:
    """The images of a folder or file of true cells.

    Raises:
        InputError: There are none, or the folder's images.csv is broken.
    """
    images = []
    folder = truth if truth.is_dir() else truth.parent
    card, table = DATASETS.get(folder.resolve().name), ImageTable.read(folder)
    pictures: dict[Path, Mapping[str, list[Path]]] = {}
    for name, path in find_cells(truth).items():
        if path.parent not in pictures:
            pictures[path.parent] = pictures_in(path.parent)
        picture = next((each for each in pictures[path.parent].get(name, ()) if each != path), None)
        group, tissue = table.group(name), table.tissue(name)
        alone = not truth.is_dir()
        images.append(TrueImage(name, path, picture, card, folder, group=group, tissue=tissue, alone=alone))
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
            f"'{predictions}' has no file for {len(missing)} of {counted(len(images), 'image')}: "
            f"{', '.join(missing[:5])}. "
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


def picture_of(path: Path | None) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 RGB of an image, None if there is none or it is too large to be held as a whole.

    Raises:
        InputError: It cannot be read.
    """
    if path is None or math.prod(picture_size(path)) > MOST_PICTURE_PIXELS:
        return None
    return read_picture(path).pixels
