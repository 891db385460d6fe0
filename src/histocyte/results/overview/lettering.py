"""Lettering for the overview picture, in the one scalable font that comes with Pillow."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Colour", "Page", "round_length_um", "width_of", "wrapped"]

Colour = tuple[int, int, int]

_RAISED = 0.62
"""Size of a superscript relative to the text."""


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def round_length_um(longest_um: float) -> tuple[float, str]:
    """The longest of 1, 2, 5, 10, 20, ... µm that is no longer than asked, with its label ('200 µm', '2 mm').

    Args:
        longest_um: Upper limit, positive.
    """
    power = 10.0 ** np.floor(np.log10(longest_um))
    length = next(float(m * power) for m in (5, 2, 1) if m * power <= longest_um * (1 + 1e-9))
    return length, f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"


class Page:
    """A white page to set text and shapes on.

    Positions are pixels from the top-left corner; a text's position is the left end of its line's top.
    """

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self.image)

    @classmethod
    def on(cls, pixels: NDArray[np.uint8]) -> Page:
        """A page with a picture, (H, W, 3) uint8, as its ground."""
        page = cls(1, 1)
        page.image = Image.fromarray(pixels)
        page._draw = ImageDraw.Draw(page.image)
        return page

    def pixels(self) -> NDArray[np.uint8]:
        """The page, (H, W, 3) uint8."""
        return np.array(self.image)

    def paste(self, pixels: NDArray[np.uint8], x: int, y: int) -> None:
        """Lay a picture on the page."""
        self.image.paste(Image.fromarray(pixels), (x, y))

    def text(self, x: float, y: float, text: str, size: int, colour: Colour, *, right: bool = False) -> None:
        """Set one line; with `right`, x is its right end."""
        x = x - width_of(text, size) if right else x
        for run in _runs(_settable(text)):
            if run == "²":
                self._draw.text((x, y), "2", font=_font(round(size * _RAISED)), fill=colour)
            elif run == "µ":
                self._mu(x, y, size, colour)
            else:
                self._draw.text((x, y), run, font=_font(size), fill=colour)
            x += _run_width(run, size)

    def fitted(
        self, x: float, y: float, text: str, size: int, colour: Colour, width: float, *, smallest: int | None = None
    ) -> None:
        """Set one line within `width`: smaller, if need be, down to `smallest`; then with its middle left out."""
        while size > (smallest or size) and width_of(text, size) > width:
            size -= 1
        whole, keep = text, len(text)
        while width_of(text, size) > width and keep > 4:
            keep -= 1
            text = whole[: -(-keep // 2)] + "..." + whole[len(whole) - keep // 2 :]
        self.text(x, y, text, size, colour)

    def box(self, x: float, y: float, width: float, height: float, fill: Colour, *, radius: float = 0) -> None:
        """A filled rectangle, its corners rounded."""
        size, finer = (round(width), round(height)), 4
        mask = Image.new("L", (size[0] * finer, size[1] * finer), 0)
        corners = (0, 0, mask.width - 1, mask.height - 1)
        ImageDraw.Draw(mask).rounded_rectangle(corners, radius * finer, fill=255)
        self.image.paste(fill, (round(x), round(y)), mask.resize(size, Image.Resampling.BOX))

    def frame(self, x: float, y: float, width: float, height: float, colour: Colour, line: int) -> None:
        """The outline of a rectangle, drawn within it."""
        self._draw.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=line)

    def _mu(self, x: float, y: float, size: int, colour: Colour) -> None:
        """The font has no µ: a u with its left stem drawn down."""
        font = _font(size)
        self._draw.text((x, y), "u", font=font, fill=colour)
        base, stem = y + font.getbbox("u")[3], max(1, round(size * 0.085))
        left = round(x + size * 0.078)
        self._draw.rectangle((left, base - size * 0.2, left + stem - 1, base + size * 0.16), fill=colour)


def wrapped(text: str, size: int, width: float, *, most: int) -> list[str]:
    """The text in lines of `width` at most, broken after spaces and the signs that names are put together with.

    Args:
        text: Text of one line.
        size: Size of the letters, px.
        width: Width of the lines, px.
        most: How many lines there may be; the last holds what is left, whatever its width.
    """
    lines: list[str] = []
    while width_of(text, size) > width and len(lines) < most - 1:
        fits = next((n for n in range(len(text), 1, -1) if width_of(text[:n].rstrip(), size) <= width), 1)
        joint = max((text.rfind(sign, 0, fits) for sign in " -_.,+"), default=-1) + 1
        end = joint if joint > fits // 2 else fits
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, text]


def width_of(text: str, size: int) -> float:
    """Width of a line as `Page.text` sets it, px."""
    return sum(_run_width(run, size) for run in _runs(_settable(text)))


def _run_width(run: str, size: int) -> float:
    if run == "²":
        return float(_font(round(size * _RAISED)).getlength("2"))
    return float(_font(size).getlength("u" if run == "µ" else run))


def _runs(text: str) -> list[str]:
    """The text cut before and after each sign that is drawn in its own way."""
    for sign in "µ²":
        text = text.replace(sign, f"\0{sign}\0")
    return [run for run in text.split("\0") if run]


def _settable(text: str) -> str:
    """The text with letters that the font lacks brought down to the nearest plain ones."""
    plain = []
    for sign in text.replace("μ", "µ"):  # noqa: RUF001
        ascii_only = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
        plain.append(sign if sign in "µ²·" else ascii_only or "?")
    return "".join(plain)
