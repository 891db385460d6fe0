"""Folders of images without labels: PNG, JPEG, WebP or TIFF files, read when they are wanted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.datasets.folder import card_for, refuse_external
from histocyte.files.foreign import foreign_parser
from histocyte.slides.picture import PICTURE_SUFFIXES, pictures_in, read_picture

__all__ = ["UnlabelledImage", "list_unlabelled"]


@dataclass(frozen=True, slots=True)
class UnlabelledImage:
    """An image file.

    Attributes:
        path: The file.
        source: Name of its folder.
        mpp: µm per px.
        size: Height and width, px.
        sha256: SHA-256 of the file.
        notes: What its user should know of the file, in sentences.
    """

    path: Path
    source: str
    mpp: float
    size: tuple[int, int]
    sha256: str
    notes: tuple[str, ...] = ()

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            InputError: The file is no longer the one that was listed.
        """
        if _sha256(self.path) != self.sha256:
            raise InputError(f"'{self.path}' has changed since this run began. Start a new run with it as it is.")
        return read_picture(self.path).pixels


def list_unlabelled(folder: str | Path, *, mpp: float | None = None) -> list[UnlabelledImage]:
    """The images of a folder, sorted by name; label files beside them are not looked at.

    Args:
        folder: Where they lie, directly.
        mpp: Their resolution; needed for folders that are not a known set and do not state it.

    Raises:
        InputError: No such folder, no image in it, one that cannot be read, an unknown resolution, or a set that is
            never to be trained on.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'. Pass a folder of images ({', '.join(PICTURE_SUFFIXES)}).")
    source = folder.resolve().name
    refuse_external([folder])
    card = card_for(folder, mpp=mpp, option="--images-mpp")
    paths = sorted(path for paths in pictures_in(folder).values() for path in paths)
    if not paths:
        raise InputError(f"'{folder}' holds no image ({', '.join(PICTURE_SUFFIXES)}).")
    found = []
    for path in paths:
        own = card.mpp_by_image.get(path.stem, card.mpp)
        picture = read_picture(path)
        height, width = picture.pixels.shape[:2]
        found.append(UnlabelledImage(path, source, own, (height, width), _sha256(path), picture.notes))
    return found


def _sha256(path: Path) -> str:
    with foreign_parser(lambda why: InputError(f"'{path}' cannot be read ({why}).")), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
