"""PNG to the last bit: whether it is whole, and all of its 16 bits, of which Pillow alone gives eight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histocyte.core.errors import SlideError

__all__ = ["GREY", "GREY_WITH_ALPHA", "PALETTE", "check_png", "png_kind", "png_of_16_bits"]

GREY, PALETTE, GREY_WITH_ALPHA = 0, 3, 4
"""Colour types."""


def png_kind(path: Path) -> tuple[int, int]:
    """Bits of a sample and colour type, of the header."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[24], head[25]


def check_png(path: Path) -> None:
    """Hold a file against its own checksums, which decoders pass over where they can make something of it all the same.

    Raises:
        Exception: It is damaged. Call it within `files.foreign.foreign_parser`.
    """
    with Image.open(path, formats=("PNG",)) as image:
        image.verify()


def png_of_16_bits(path: Path) -> NDArray[np.uint16]:
    """(H, W, 1 to 4) grey or RGB, with alpha after it if there is any.

    Raises:
        Exception: It is damaged. Call it within `files.foreign.foreign_parser`.
    """
    bits, colour = png_kind(path)
    if bits != 16:
        raise SlideError(f"a PNG of {bits} bits")
    if colour == GREY:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image).astype(np.uint16)[..., None]
    if colour == GREY_WITH_ALPHA:
        # Its 32 bits a pixel are filtered as those of RGBA are, and come as stored if they are taken for that.
        return _raw(path, "LA;16B", "RGBA").view(">u2").astype(np.uint16)
    stored = np.left_shift(_raw(path, "16B", "16B"), 8, dtype=np.uint16)
    stored |= _raw(path, "16B", "16L")  # the other byte, of what is told to begin with the lower one
    return stored


def _raw(path: Path, named: str, taken_for: str) -> NDArray[np.uint8]:
    """The pixels as Pillow decodes them if samples are stored otherwise than they are."""
    with Image.open(path, formats=("PNG",)) as image:
        tiles = [(*tile[:3], str(tile[3]).replace(named, taken_for)) for tile in image.tile]
        image.tile = tiles  # type: ignore[assignment]
        return np.asarray(image)
