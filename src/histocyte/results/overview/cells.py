"""Cells drawn on a picture: as outlines, as dots, or as a density map, whichever its scale allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.cells import Cells
from histocyte.core.taxonomy import Taxonomy

__all__ = ["NO_CLASS_COLOUR", "Style", "class_colours", "draw_cells", "style_for"]

Style = Literal["outlines", "dots", "density"]

NO_CLASS_COLOUR = (0, 158, 142)
"""Colour of cells from a model without classes."""

_OUTLINE_FROM_PX = 4.0
_DOT_FROM_PX = 1.4
_SHIFT = 4
_FILL_FROM_PX = 8.0
_TINT = 0.18
"""Share of the class's colour within an outline."""
_BIN_PX = 2
"""Side of a bin of the density map, picture px."""
_SMOOTH_BINS = 1.8


def class_colours(taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """(K, 3) display colours; one row for a taxonomy without classes."""
    return np.array([c.colour for c in taxonomy.classes] or [NO_CLASS_COLOUR], np.uint8)


def style_for(cell_px: float) -> Style:
    """What cells of this diameter, in pixels of the picture, can be drawn as."""
    if cell_px >= _OUTLINE_FROM_PX:
        return "outlines"
    return "dots" if cell_px >= _DOT_FROM_PX else "density"


def draw_cells(
    picture: NDArray[np.uint8],
    cells: Iterable[Cells],
    taxonomy: Taxonomy,
    scale: float,
    *,
    origin: tuple[float, float] = (0, 0),
) -> tuple[NDArray[np.uint8], Style]:
    """Draw cells, table by table; what is held is the picture and one table.

    Args:
        picture: (H, W, 3) uint8 RGB.
        cells: Tables of cells; the first with any cells decides how all are drawn.
        taxonomy: Their classes.
        scale: Picture pixels per level-0 pixel.
        origin: Level-0 x, y of the picture's top-left corner.

    Returns:
        A new picture, and how the cells were drawn.
    """
    filled = (table for table in cells if len(table))
    first = next(filled, None)
    if first is None:
        return picture.copy(), "outlines"
    diameter = 2 * np.sqrt(np.median(first.area_um2) / np.pi) / first.mpp * scale
    style = style_for(float(diameter))
    tables = _moved(chain([first], filled), scale, np.asarray(origin, np.float64), outlines=style == "outlines")
    colours = class_colours(taxonomy)
    if style == "outlines":
        return _outlined(picture, tables, colours, float(diameter)), style
    if style == "dots":
        return _dotted(picture, tables, colours, float(diameter)), style
    return _density_map(picture, tables, colours), style


def _moved(tables: Iterable[Cells], scale: float, origin: NDArray[np.float64], *, outlines: bool) -> Iterator[Cells]:
    """The tables with centres, and outlines where they are drawn, in picture px."""
    for table in tables:
        contours = (table.contour_xy - origin) * scale if outlines else table.contour_xy
        yield replace(table, xy=(table.xy - origin) * scale, contour_xy=contours)


def _fixed_point(xy: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points as OpenCV takes them with `shift`; it counts from pixel centres, geometry from pixel corners."""
    return np.rint((xy - 0.5) * 2**_SHIFT).astype(np.int32)


def _outlined(
    picture: NDArray[np.uint8], tables: Iterator[Cells], colours: NDArray[np.uint8], diameter: float
) -> NDArray[np.uint8]:
    picture = picture.copy()
    line = 1 if diameter < 20 else 2 if diameter < 50 else 3
    for table in tables:
        rings = np.split(_fixed_point(table.contour_xy), table.contour_offsets[1:-1])
        painted = [colours[kind].tolist() for kind in _kinds(table)]
        if diameter >= _FILL_FROM_PX:
            for ring, colour in zip(rings, painted, strict=True):
                _tint(picture, ring, colour)
        for ring, colour in zip(rings, painted, strict=True):
            cv2.polylines(picture, [ring], True, colour, line, cv2.LINE_AA, _SHIFT)
    return picture


def _tint(picture: NDArray[np.uint8], ring: NDArray[np.int32], colour: list[int]) -> None:
    """Lay a thin wash of colour on the inside of an outline."""
    size = np.array(picture.shape[1::-1])
    low = np.clip((ring.min(axis=0) >> _SHIFT) - 1, 0, size)
    high = np.clip((ring.max(axis=0) >> _SHIFT) + 2, 0, size)
    if (high <= low).any():
        return
    patch = picture[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [(ring - (low << _SHIFT)).astype(np.int32)], 1, cv2.LINE_8, _SHIFT)
    inside = mask > 0
    patch[inside] = np.rint(patch[inside] * (1 - _TINT) + np.array(colour) * _TINT).astype(np.uint8)


def _kinds(table: Cells) -> NDArray[np.int64]:
    """(N,) row of each cell's colour."""
    return np.maximum(table.class_index, 0)


def _dotted(
    picture: NDArray[np.uint8], tables: Iterator[Cells], colours: NDArray[np.uint8], diameter: float
) -> NDArray[np.uint8]:
    """Dots of the cells' own size on a paled picture, so that colour means cells."""
    picture = _paled(picture, 0.45)
    radius = round(max(0.9, diameter / 2) * 2**_SHIFT)
    for table in tables:
        for centre, kind in zip(_fixed_point(table.xy).tolist(), _kinds(table), strict=True):
            cv2.circle(picture, centre, radius, colours[kind].tolist(), -1, cv2.LINE_AA, _SHIFT)
    return picture


def _density_map(picture: NDArray[np.uint8], tables: Iterator[Cells], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Per place the mix of the classes' colours, the stronger the more cells."""
    height, width = picture.shape[:2]
    rows, columns = -(-height // _BIN_PX), -(-width // _BIN_PX)
    counts = np.zeros((len(colours), rows, columns), np.float32)
    for table in tables:
        column = np.floor(table.xy[:, 0] / _BIN_PX).astype(np.int64).clip(0, columns - 1)
        row = np.floor(table.xy[:, 1] / _BIN_PX).astype(np.int64).clip(0, rows - 1)
        np.add.at(counts, (_kinds(table), row, column), 1)
    for kind in range(len(counts)):
        counts[kind] = cv2.GaussianBlur(counts[kind], (0, 0), _SMOOTH_BINS)
    total = counts.sum(axis=0)
    # A plain mean of the colours is brown everywhere; the leading class gets more than its share.
    weights = counts**2.5
    mix = np.einsum("khw,kc->hwc", weights, colours.astype(np.float32))
    mix /= np.maximum(weights.sum(axis=0), 1e-12)[..., None]
    top = float(np.percentile(total[total > 1e-3], 98)) if (total > 1e-3).any() else 1.0
    alpha = 215 * np.clip(total / top, 0, 1) ** 0.6
    size = (columns * _BIN_PX, rows * _BIN_PX)

    def enlarged(values: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_CUBIC)[:height, :width], np.float32)
        return whole.clip(0, 255, out=whole)

    picture, alpha = _paled(picture, 0.55), enlarged(alpha)
    for channel in range(3):  # one at a time, as numbers take four times the room of the picture
        ink = enlarged(np.ascontiguousarray(mix[..., channel]))
        picture[..., channel] = _blend(picture[..., channel, None], ink[..., None], alpha)[..., 0]
    return picture


def _paled(picture: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The picture without colour and nearer to white."""
    paler = (np.arange(256, dtype=np.float32) * (1 - share) + 250 * share).astype(np.uint8)
    return paler[cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)][..., None].repeat(3, axis=2)


def _blend(picture: NDArray[np.uint8], ink: NDArray[np.generic], alpha: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Ink laid on the picture where alpha (0–255) says so, a band of rows at a time."""
    blended = np.empty_like(picture)
    for top in range(0, len(picture), 256):
        rows = slice(top, top + 256)
        share = alpha[rows, :, None].astype(np.float32) / 255
        ground = picture[rows].astype(np.float32)
        blended[rows] = np.rint(ground + (ink[rows].astype(np.float32) - ground) * share).astype(np.uint8)
    return blended
