"""What the samples of a TIFF look like: grey, RGB, palettes and CMYK of 8 or 16 bits, with or without alpha."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tifffile
from numpy.typing import NDArray

from histocyte.core.errors import SlideError
from histocyte.slides.protocol import RefusedError
from histocyte.slides.stored import in_8_bits, used_bits

__all__ = ["Colours", "colours_of", "look_at"]

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_KNOWN = frozenset({_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _CMYK, _YCBCR})
_ASSOCIATED, _UNASSOCIATED = 1, 2
"""Extra samples that are alpha: colours multiplied by it, and not."""

_LOOKED_AT_PX = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """How the stored samples of a page become grey or RGB.

    Attributes:
        photometric: TIFF's number for what the samples mean; grey or RGB where they were made so in decoding.
        samples: How many of them are colours.
        alpha: 0 none, else the kind of the extra sample after them.
        bits: That are used, of 16.
        palette: (N, 3) uint8.
    """

    photometric: int
    samples: int
    alpha: int
    bits: int = 16
    palette: NDArray[np.uint8] | None = None

    @property
    def channels(self) -> int:
        """1 or 3, of what is shown."""
        return 1 if self.samples == 1 and self.palette is None else 3

    def shown(self, stored: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        """(H, W, S) of 8 or 16 bits → (H, W, 1 or 3) of 8; what is transparent is white."""
        colour = stored[..., : self.samples]
        if self.palette is not None:
            shown = self.palette[np.minimum(colour[..., 0], len(self.palette) - 1)]
        else:
            shown = self._in_8_bits(colour)
        if self.photometric == _MIN_IS_WHITE:
            shown = 255 - shown
        elif self.photometric == _CMYK:
            ink = 255 - shown.astype(np.uint16)
            shown = ((ink[..., :3] * ink[..., 3:] + 127) // 255).astype(np.uint8)
        if not self.alpha:
            return np.ascontiguousarray(shown)
        weight = self._in_8_bits(stored[..., self.samples : self.samples + 1]).astype(np.uint16)
        seen = shown if self.alpha == _ASSOCIATED else (shown * weight + 127) // 255
        return np.minimum(255, seen + (255 - weight)).astype(np.uint8)

    def _in_8_bits(self, values: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        if values.dtype.itemsize == 1:
            return values.astype(np.uint8, copy=False)
        return in_8_bits(values.astype(np.uint16, copy=False), self.bits)


def colours_of(page: tifffile.TiffPage) -> Colours:
    """What a page says of its samples.

    Raises:
        SlideError: They are none that can be shown; the message is a short reason.
    """
    if page.dtype not in (np.uint8, np.uint16) or page.bitspersample not in (8, 16):
        raise SlideError(f"pixels of type {page.dtype}, {page.bitspersample} bits: 8 or 16 are needed")
    photometric, n = int(page.photometric), page.samplesperpixel
    separate = page.planarconfig == 2 and n > 1
    if photometric not in _KNOWN or (photometric == _CMYK and (n < 4 or separate)):
        name = tifffile.PHOTOMETRIC(photometric).name
        raise SlideError(f"colours stored as {name}: grey, RGB, YCbCr, CMYK or a palette are needed")
    palette = _palette(page) if photometric == _PALETTE else None
    samples = 4 if photometric == _CMYK else 3 if n >= 3 and palette is None and not separate else 1
    alpha = page.extrasamples[0] if page.extrasamples and not separate and n > samples else 0
    if samples == 1 and n == 2 and alpha not in (_ASSOCIATED, _UNASSOCIATED):
        raise SlideError("two channels, of which none is said to be alpha")
    return Colours(photometric, samples, alpha if alpha in (_ASSOCIATED, _UNASSOCIATED) else 0, 16, palette)


def _palette(page: tifffile.TiffPage) -> NDArray[np.uint8]:
    """(N, 3) of 8 bits; some programs write a palette of 8 bits where 16 are asked for."""
    stored = np.asarray(page.colormap, np.uint16)
    if stored.ndim != 2 or len(stored) != 3 or not stored.size:
        raise SlideError("a palette without colours")
    return np.ascontiguousarray(in_8_bits(stored, used_bits(int(stored.max()))).T)


def look_at(
    read: Callable[[int], NDArray[np.uint8] | NDArray[np.uint16]], filled: Sequence[int], colours: Colours
) -> int:
    """The highest value of a colour in tiles or strips spread over an image, up to some 16 million pixels of them.

    Args:
        read: (H, W, S) as stored, by number.
        filled: Numbers of those that there are.
        colours: Colours of the page.

    Raises:
        RefusedError: All of it was looked at, and all is transparent.
    """
    highest, opacity, step = 0, 0, 1
    for place, number in enumerate(filled):
        if place % step:
            continue
        stored = read(number)
        highest = max(highest, int(stored[..., : colours.samples].max()))
        opacity = max(opacity, int(stored[..., colours.samples :].max(initial=0)))
        step = max(1, len(filled) * stored.shape[0] * stored.shape[1] // _LOOKED_AT_PX)
    if colours.alpha and filled and step == 1 and not opacity:
        raise RefusedError("every pixel is fully transparent, so that it shows nothing: save it without alpha channel")
    return highest
