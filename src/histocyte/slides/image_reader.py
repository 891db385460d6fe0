"""PNG, JPEG, WebP and other plain images, held in memory as a whole."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from histocyte.core.errors import SlideError
from histocyte.core.geometry import Box
from histocyte.slides.fingerprint import fingerprint_files
from histocyte.slides.protocol import StoredLevel

__all__ = ["IMAGE_SUFFIXES", "ImageBackend"]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})


class ImageBackend:
    """One level, decoded at once. An orientation noted in the file (EXIF) is not applied."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pixels = _decode(path)
        self.levels = (StoredLevel((self._pixels.shape[1], self._pixels.shape[0])),)
        self.bounds: Box | None = None
        self.notes: tuple[str, ...] = ()
        # The dots per inch of such files are printing defaults, not a microscope's statement.
        self.stated_mpp: float | None = None

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over size and ends of the file."""
        return fingerprint_files([self._path])

    def read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        """A view of the box."""
        return self._pixels[box.slices()]

    def close(self) -> None:
        """Nothing to give up."""


def _decode(path: Path) -> NDArray[np.uint8]:
    try:
        # Pillow warns from 89 million pixels and refuses from 179 million: the refusal is the limit here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _rgb(image)
    except UnidentifiedImageError:
        raise SlideError("not an image that Pillow knows") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise SlideError(f"more than {limit} million pixels: convert it to a tiled pyramidal TIFF") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise SlideError(f"damaged image: {error}") from error


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3): grey, 16 bits, palettes and CMYK converted, transparent pixels on white."""
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise SlideError(f"pixels of 32 bits (mode {image.mode}): 8 or 16 are needed")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"), np.uint8)
