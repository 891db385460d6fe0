"""PNG, JPEG, WebP and other plain images, held in memory as a whole."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from histocyte.core.errors import SlideError
from histocyte.core.geometry import Box
from histocyte.files.foreign import MOST_PICTURE_PIXELS, foreign_parser, size_fault
from histocyte.slides.fingerprint import fingerprint_files
from histocyte.slides.png import check_png, png_kind, png_of_16_bits
from histocyte.slides.protocol import RefusedError, StoredLevel
from histocyte.slides.stored import depth_note, in_8_bits, turn_note, used_bits

__all__ = ["IMAGE_SUFFIXES", "ImageBackend"]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})

_FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
"""Pillow goes by content and knows some fifty more, of which one runs a program (EPS) and none is for such pictures."""

_ROWS_AT_ONCE = 512
_ORIENTATION = 0x0112


class ImageBackend:
    """One level, decoded at once. An orientation noted in the file (EXIF) is not applied."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pixels, self.notes = _decode(path)
        self.levels = (StoredLevel((self._pixels.shape[1], self._pixels.shape[0])),)
        self.bounds: Box | None = None
        # The dots per inch of such files are printing defaults, not a microscope's statement.
        self.stated_mpp: float | None = None

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the file, see `slides.fingerprint`."""
        return fingerprint_files([self._path])

    def read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        """A view of the box."""
        return self._pixels[box.slices()]

    def close(self) -> None:
        """Nothing to give up."""


def _decode(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(H, W, 3) and notes."""
    with foreign_parser(lambda why: SlideError(f"damaged image: {why}")), warnings.catch_warnings():
        # From 89 million pixels Pillow warns, from 179 million it refuses: what is refused is said here.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=_FORMATS) as image:
                notes = _checked(image)
                if image.format == "PNG":
                    check_png(path)
                if image.format != "PNG" or png_kind(path)[0] < 16:
                    return _rgb(image), notes
        except UnidentifiedImageError:
            raise SlideError(f"none of {', '.join(_FORMATS)}, whatever its name") from None
        except Image.DecompressionBombError:
            limit = MOST_PICTURE_PIXELS // 1_000_000
            raise RefusedError(f"more than {limit} million pixels: convert it to a tiled pyramidal TIFF") from None
        pixels, depth = _of_16_bits(path)
        return pixels, notes + depth


def _checked(image: Image.Image) -> tuple[str, ...]:
    """Notes on a picture.

    Raises:
        SlideError: It is none that can be read.
    """
    if fault := size_fault(*image.size, most_pixels=MOST_PICTURE_PIXELS):
        raise RefusedError(f"{fault}: convert it to a tiled pyramidal TIFF")
    if image.format != "MPO" and (n_frames := getattr(image, "n_frames", 1)) > 1:  # MPO: a camera's own previews
        raise RefusedError(f"{n_frames} pictures in one file: save the one that is meant by itself")
    if image.mode in {"I", "F"}:
        raise RefusedError(f"pixels of 32 bits (mode {image.mode}): 8 or 16 are needed")
    turned = 1
    with suppress(Exception):  # what of a camera's remarks is broken does the pixels no harm
        turned = int(image.getexif().get(_ORIENTATION, 1))
    return turn_note(turned, "EXIF")


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) of 8 bits: grey, palettes and CMYK converted, transparent pixels on white.

    In bands, as what Pillow makes of a band takes several times its bytes.
    """
    width, height = image.size
    out = np.empty((height, width, 3), np.uint8)
    clear, opacity = image.has_transparency_data, 0
    for y in range(0, height, _ROWS_AT_ONCE):
        band = image.crop((0, y, width, min(height, y + _ROWS_AT_ONCE)))
        if clear:
            band = band.convert("RGBA")
            opacity = max(opacity, int(np.asarray(band.getchannel("A")).max()))
            band = Image.alpha_composite(Image.new("RGBA", band.size, "white"), band)
        out[y : y + _ROWS_AT_ONCE] = np.asarray(band.convert("RGB"))
    if clear and not opacity:
        raise RefusedError(_ALL_CLEAR)
    return out


_ALL_CLEAR = "every pixel is fully transparent, so that it shows nothing: save it without its alpha channel"


def _of_16_bits(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(H, W, 3) of a PNG of 16 bits, and what to say of them."""
    stored = png_of_16_bits(path)
    colours = 3 if stored.shape[2] >= 3 else 1
    clear = stored.shape[2] > colours
    if clear and not stored[..., colours].any():
        raise RefusedError(_ALL_CLEAR)
    highest = int(stored[..., :colours].max())
    bits = used_bits(highest)
    out = np.empty((*stored.shape[:2], 3), np.uint8)
    for y in range(0, len(out), _ROWS_AT_ONCE):
        band = stored[y : y + _ROWS_AT_ONCE]
        shown = in_8_bits(band[..., :colours], bits)
        if clear:
            weight = (band[..., colours:] >> 8).astype(np.uint16)
            shown = ((shown * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
        out[y : y + _ROWS_AT_ONCE] = shown
    return out, depth_note(bits, highest)
