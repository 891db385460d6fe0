"""The worst tiles as a page shows them: image, truth, result and mistakes side by side, outlines as shapes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.names import counted
from histocyte.core.outlines import trace_outlines
from histocyte.evaluation.page.gallery import Side, Tile
from histocyte.evaluation.page.mistakes import Mistake
from histocyte.pages.drawing import COLOURS

__all__ = ["Layer", "Letter", "Panel", "TilePicture", "class_legend", "mistake_legend", "picture_of"]

_CLASS_COLOURS = COLOURS[:-1]
_UNKNOWN_CLASS = "#777777"
_CLASS_DASHES = ("", "6 2.5", "2 2")
"""Beyond six classes the colours come again, with the next dash."""

_MOST_PX = 640
"""Longer sides are shrunk to this: a tile is shown at about 280 CSS px, and as large as the window when zoomed."""

_QUALITY = 82
"""Quality of WebP; some 15 kB a tile of 256 px."""


@dataclass(frozen=True, slots=True)
class _Style:
    letter: str
    text: str
    one: str
    colour: str
    dash: str


# Dashed outlines are the truth's, the others the model's. The colours are Tol's muted ones, none of which a class has.
_MISTAKES = {
    Mistake.MISSED: _Style("M", "missed: a true nucleus where nothing was found", "missed", "#882255", "5 2.5"),
    Mistake.FALSE: _Style("F", "false: found where there is no nucleus", "false", "#332288", ""),
    Mistake.MERGED: _Style("J", "merged (joined): one outline over two or more nuclei", "merged", "#117733", ""),
    Mistake.SPLIT: _Style("S", "split: a true nucleus in two or more pieces", "split", COLOURS[-1], "5 2.5"),
    Mistake.WRONG_CLASS: _Style("C", "of the wrong class", "of the wrong class", "#999933", ""),
    Mistake.POOR_OUTLINE: _Style("O", "poor outline: IoU of 0.5 or less", "poorly outlined", "#44AA99", "1.5 2"),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """Outlines drawn alike.

    Attributes:
        path: SVG path data, px of the tile.
        colour: Colour of the line.
        dash: SVG dash array, empty for a solid line.
        title: What they are.
    """

    path: str
    colour: str
    dash: str
    title: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter on a mistake, its middle at x, y in px of the tile."""

    text: str
    x: float
    y: float
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the pictures of a tile: its title, what it shows in words, and what lies over the image."""

    title: str
    alt: str
    layers: tuple[Layer, ...]
    letters: tuple[Letter, ...] = ()


@dataclass(frozen=True, slots=True)
class TilePicture:
    """A tile to be shown.

    Attributes:
        source: Its data set.
        caption: Where it lies and what is wrong.
        uri: The image as a data URI; empty if there is none.
        width: Width of the tile, px.
        height: Height of the tile, px.
        text_px: Size of the letters.
        panels: Image, truth, found, mistakes.
    """

    source: str
    caption: str
    uri: str
    width: int
    height: int
    text_px: float
    panels: tuple[Panel, ...]


def mistake_legend() -> list[dict[str, str]]:
    """Letter, text, colour and dash of every mistake."""
    return [{"letter": s.letter, "text": s.text, "colour": s.colour, "dash": s.dash} for s in _MISTAKES.values()]


def class_legend(tiles: Sequence[Tile], names: Sequence[str]) -> list[dict[str, str]]:
    """Text, colour and dash of the outlines of nuclei: of each class, if any side has classes."""
    sides = [side for tile in tiles for side in (tile.truth, tile.found)]
    typed = [side.types[1:] for side in sides if side.types is not None]
    present = {int(t) for types in typed for t in types}
    numbers = sorted(present - {0}) + ([0] if 0 in present or len(typed) < len(sides) else [])
    if not any(numbers):
        return []
    return [
        {"letter": "", "text": _class_name(i, names)} | dict(zip(("colour", "dash"), _class_look(i), strict=True))
        for i in numbers
    ]


def picture_of(tile: Tile, names: Sequence[str]) -> TilePicture:
    """Prepare a tile for the page.

    Args:
        tile: The tile.
        names: The K classes.
    """
    height, width = tile.truth.labels.shape
    told = ", ".join(f"{n} {_MISTAKES[kind].one}" for kind, n in sorted(tile.counts.items()))
    truth, found = (_rings(side.labels) for side in (tile.truth, tile.found))
    layers, letters = _marked(tile, truth, found)
    panels = (
        Panel("image", "The tissue as it is.", ()),
        Panel(
            "truth",
            f"Outlines of {counted(len(truth), 'true nucleus', 'true nuclei')}.",
            _by_class(tile.truth, truth, names),
        ),
        Panel(
            "found",
            f"Outlines of {counted(len(found), 'found nucleus', 'found nuclei')}.",
            _by_class(tile.found, found, names),
        ),
        Panel("mistakes", f"Outlines of the mistakes: {told}.", layers, letters),
    )
    caption = (
        f"{tile.info.name}, from x {tile.x}, y {tile.y} px: {counted(tile.n_mistakes, 'mistake')} "
        f"around {counted(tile.n_truth, 'true nucleus', 'true nuclei')}: {told}."
    )
    return TilePicture(tile.info.source, caption, _uri(tile.image), width, height, 0.042 * max(width, height), panels)


def _uri(image: NDArray[np.uint8] | None) -> str:
    if image is None:
        return ""
    scale = _MOST_PX / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".webp", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode()


def _rings(labels: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """(n, 2) corners of each nucleus, 1..N in order."""
    points, offsets = trace_outlines(labels)
    return np.split(points.astype(np.int64), offsets[1:-1]) if len(offsets) > 1 else []


def _path(ring: NDArray[np.int64]) -> str:
    """Steps along pixels' edges, by turns across and down."""
    steps = np.diff(ring, axis=0)
    drawn = "".join(f"h{x}" if x else f"v{y}" for x, y in steps.tolist())
    return f"M{ring[0, 0]} {ring[0, 1]}{drawn}z"


def _by_class(side: Side, rings: Sequence[NDArray[np.int64]], names: Sequence[str]) -> tuple[Layer, ...]:
    types = np.zeros(len(rings) + 1, np.int64) if side.types is None else side.types
    layers = []
    for number in sorted(set(types[1:].tolist())):
        path = "".join(_path(ring) for ring, t in zip(rings, types[1:], strict=True) if t == number)
        title = "nucleus" if side.types is None else _class_name(number, names)
        layers.append(Layer(path, *_class_look(number), title))
    return tuple(layers)


def _class_look(number: int) -> tuple[str, str]:
    """Colour and dash of a class from 1; 0 is unknown."""
    if number == 0:
        return _UNKNOWN_CLASS, ""
    turn, place = divmod(number - 1, len(_CLASS_COLOURS))
    return _CLASS_COLOURS[place], _CLASS_DASHES[turn % len(_CLASS_DASHES)]


def _class_name(number: int, names: Sequence[str]) -> str:
    return names[number - 1] if number else "class not known"


def _marked(
    tile: Tile, truth: Sequence[NDArray[np.int64]], found: Sequence[NDArray[np.int64]]
) -> tuple[tuple[Layer, ...], tuple[Letter, ...]]:
    """The mistakes' outlines and letters; what is right is left bare."""
    by_kind: dict[int, list[NDArray[np.int64]]] = {}
    for side, rings in ((tile.truth, truth), (tile.found, found)):
        for ring, kind in zip(rings, side.mistakes[1:].tolist(), strict=True):
            by_kind.setdefault(kind, []).append(ring)
    layers, letters = [], []
    for kind, style in _MISTAKES.items():
        rings = by_kind.get(kind, [])
        if rings:
            layers.append(Layer("".join(map(_path, rings)), style.colour, style.dash, style.text))
        for ring in rings:
            x, y = (ring.min(axis=0) + ring.max(axis=0)) / 2
            letters.append(Letter(style.letter, float(x), float(y), style.colour))
    return tuple(layers), tuple(letters)
