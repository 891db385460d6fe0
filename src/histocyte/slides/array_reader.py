"""An image in memory as a slide."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import Box
from histocyte.slides.fingerprint import fingerprint_bytes
from histocyte.slides.protocol import StoredLevel, working_size
from histocyte.slides.reader import PyramidReader

__all__ = ["ArrayBackend", "open_array", "resampled"]


class ArrayBackend:
    """One level: the array itself."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels
        self.levels = (StoredLevel((pixels.shape[1], pixels.shape[0])),)
        self.stated_mpp: float | None = None
        self.bounds: Box | None = None
        self.notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Fingerprint of shape and pixels."""
        return fingerprint_bytes(repr(self._pixels.shape).encode(), self._pixels.tobytes())

    def read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        """A view of the box."""
        return self._pixels[box.slices()]

    def close(self) -> None:
        """Nothing to give up."""


def open_array(pixels: NDArray[np.uint8], *, mpp: float, name: str = "image") -> PyramidReader:
    """A reader of RGB pixels (H, W, 3) uint8 at `mpp` µm/px.

    Raises:
        InputError: The array has another shape or type, or no pixels.
        ResolutionError: The resolution is impossible.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise InputError(
            f"An image is a uint8 array of shape (height, width, 3), RGB; this one is {pixels.dtype} of shape "
            f"{pixels.shape}."
        )
    return PyramidReader(partial(ArrayBackend, pixels), name=name, mpp=mpp)


def resampled(pixels: NDArray[np.uint8], *, mpp: float, to_mpp: float) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3) at another resolution, each side 1 px or more, as a slide is read at it.

    Args:
        pixels: (H, W, 3) uint8.
        mpp: Their resolution, µm/px.
        to_mpp: The one wanted, µm/px.

    Raises:
        InputError: The array has another shape or type, or no pixels.
        ResolutionError: The resolution is impossible.
    """
    with open_array(pixels, mpp=mpp) as reader:
        return reader.read(Box(0, 0, *working_size(reader, to_mpp)), mpp=to_mpp)
