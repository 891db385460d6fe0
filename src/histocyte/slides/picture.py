"""An image read whole, by the very readers that slides are read with: the one way pixels come into the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import SlideError
from histocyte.core.geometry import Box
from histocyte.files.foreign import MOST_PICTURE_PIXELS, broken_link, size_fault
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import SlideReader

__all__ = ["PICTURE_SUFFIXES", "Picture", "picture_name", "picture_size", "pictures_in", "read_picture"]

PICTURE_SUFFIXES = (".webp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""Endings (lower case) of files that are images; of several of one name the first is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        notes: What its user should know of the file, in sentences.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def read_picture(path: Path) -> Picture:
    """The pixels of an image file, those that `histocyte segment` sees at its full resolution.

    Raises:
        SlideError: It cannot be read, or is too large to be held as a whole.
        MissingExtraError: Its compression needs the extra `tiff`.
    """
    with _opened(path) as reader:
        width, height = reader.size
        if fault := size_fault(width, height, most_pixels=MOST_PICTURE_PIXELS):
            raise SlideError(f"'{path}' is {fault}.")
        pixels = reader.read(Box(0, 0, width, height), mpp=reader.mpp)
        return Picture(pixels, tuple(f"'{path}': {note}" for note in reader.notes))


def picture_size(path: Path) -> tuple[int, int]:
    """H, W of an image.

    Raises:
        SlideError: It cannot be read.
        MissingExtraError: Its compression needs the extra `tiff`.
    """
    with _opened(path) as reader:
        width, height = reader.size
    return height, width


def picture_name(name: str) -> str:
    """A file's name without the ending of an image, if it has one.

    >>> picture_name("a.PNG"), picture_name("TCGA-1.2")
    ('a', 'TCGA-1.2')
    """
    return next((name[: -len(suffix)] for suffix in PICTURE_SUFFIXES if name.lower().endswith(suffix)), name)


def pictures_in(folder: Path) -> Mapping[str, list[Path]]:
    """The images of a folder by their names without ending, the one to take first; links that lead nowhere too."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURE_SUFFIXES and (path.is_file() or broken_link(path)):
            found.setdefault(path.stem, []).append(path)
    for paths in found.values():
        paths.sort(key=lambda path: PICTURE_SUFFIXES.index(path.suffix.lower()))
    return found


def _opened(path: Path) -> SlideReader:
    return open_slide(path, mpp=1.0)  # any will do: all is read at the resolution of the file
