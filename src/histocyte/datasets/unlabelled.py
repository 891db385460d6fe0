"""Folders of images without labels: PNG, JPEG, WebP or TIFF files, read when they are wanted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.pictures import decode_picture, picture_content

__all__ = ["UnlabelledImage", "list_unlabelled"]

SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, slots=True)
class UnlabelledImage:
    """An image file.

    Attributes:
        path: The file.
        source: Name of its folder.
        mpp: µm per px.
        size: Height and width, px.
        sha256: Of the file.
    """

    path: Path
    source: str
    mpp: float
    size: tuple[int, int]
    sha256: str

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            InputError: The file is no longer the one that was listed.
        """
        content = picture_content(self.path)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise InputError(f"'{self.path}' has changed since this run began. Start a new run with it as it is.")
        return decode_picture(content, self.path)


def list_unlabelled(folder: str | Path, *, mpp: float | None = None) -> list[UnlabelledImage]:
    """The images of a folder, sorted by name; label files beside them are not looked at.

    Args:
        folder: Where they lie, directly.
        mpp: Their resolution; needed for folders that are no known set.

    Raises:
        InputError: No such folder, no image in it, one that cannot be read, an unknown resolution, or a set that is
            never to be trained on.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'. Pass a folder of images ({', '.join(SUFFIXES)}).")
    source = folder.resolve().name
    card = DATASETS.get(source)
    if card is not None and card.external:
        raise InputError(f"'{folder}' is an external test set, never trained or selected on. Leave it out.")
    if card is None and mpp is None:
        raise InputError(f"The resolution of the images in '{folder}' is not known. Pass it: --images-mpp 0.25.")
    if mpp is not None:
        check_mpp(mpp, what=f"the images in '{folder}'", option="--images-mpp")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise InputError(f"'{folder}' holds no image ({', '.join(SUFFIXES)}).")
    found = []
    for path in paths:
        own = mpp if card is None else card.mpp_by_image.get(path.stem, card.mpp)
        assert own is not None
        content = picture_content(path)
        height, width = decode_picture(content, path).shape[:2]
        found.append(UnlabelledImage(path, source, own, (height, width), hashlib.sha256(content).hexdigest()))
    return found
