"""The overview: one picture of a slide with its cells, a legend and a scale bar, that one can show as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from histocyte.core.cells import Cells
from histocyte.core.geometry import Box, area_text
from histocyte.core.names import counted
from histocyte.core.taxonomy import Taxonomy
from histocyte.results.overview.cells import Style, class_colours, draw_cells
from histocyte.results.overview.lettering import Colour, Page, round_length_um, width_of, wrapped

__all__ = ["draw_overview"]

_LONG_SIDE = 1440
"""Long side of the slide's picture, px; the panel comes on top."""
_MOST_ZOOM = 8.0
_PANEL = 460
_EDGE = 36
_ROW = 62
_DARK: Colour = (28, 30, 46)
_MUTED: Colour = (112, 116, 132)
_RULE: Colour = (226, 228, 235)
_NOTES: dict[Style, str] = {
    "outlines": "Every cell outlined in the colour of its class",
    "dots": "Every cell a dot in the colour of its class",
    "density": "The stronger the colour, the denser the cells",
}


def draw_overview(
    thumbnail: NDArray[np.uint8],
    downsample: float,
    tissue: Any,
    cells: Iterable[Cells],
    taxonomy: Taxonomy,
    mpp: float,
    title: str,
    counts: Mapping[str, int],
    *,
    model: str = "",
    detail: tuple[NDArray[np.uint8], Box, Cells] | None = None,
) -> NDArray[np.uint8]:
    """Draw the overview of a slide.

    Cells are outlined where they are at least 4 px across in the picture, else drawn as dots, else as a density map.

    Args:
        thumbnail: (H, W, 3) uint8 RGB of the whole slide.
        downsample: Level-0 pixels per thumbnail pixel.
        tissue: Shapely geometry of the tissue searched, level-0 px; None draws no outline.
        cells: Tables of cells, taken one at a time.
        taxonomy: Their classes.
        mpp: Level-0 resolution, µm/px.
        title: Set at the top, the slide's name.
        model: Set below it: what found the cells.
        counts: Class name → number of cells; classes of the taxonomy that are not named count as 0.
        detail: A field shown large beside the slide: its picture, its place (level-0 px) and its cells.

    Returns:
        (H, W, 3) uint8 RGB, at most about 2000 px on the long side.
    """
    zoom = min(_LONG_SIDE / max(thumbnail.shape[:2]), _MOST_ZOOM)
    picture = _resized(thumbnail, zoom)
    scale = zoom / downsample
    picture, style = draw_cells(picture, cells, taxonomy, scale)
    if tissue is not None:
        _outline_tissue(picture, tissue, scale)
    if detail is not None:
        _mark_field(picture, detail[1], scale)
    picture = _with_scale_bar(picture, mpp / scale)
    side = None if detail is None else _draw_detail(detail, taxonomy, mpp)
    area_mm2 = None if tissue is None else float(tissue.area) * mpp**2 / 1e6
    legend = _Legend(title, model, _rows(counts, taxonomy), area_mm2, _NOTES[style])
    return _compose(picture, legend, side)


def _resized(image: NDArray[np.uint8], zoom: float) -> NDArray[np.uint8]:
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _outline_tissue(picture: NDArray[np.uint8], tissue: Any, scale: float) -> None:
    rings = [np.rint((ring * scale - 0.5) * 16).astype(np.int32) for ring in _rings(tissue)]
    cv2.polylines(picture, rings, True, (255, 255, 255), 4, cv2.LINE_AA, 4)
    cv2.polylines(picture, rings, True, (64, 68, 92), 2, cv2.LINE_AA, 4)


def _rings(geometry: Any) -> Iterator[NDArray[np.float64]]:
    """(P, 2) outer and inner rings of every polygon in a geometry."""
    for ring in shapely.get_rings(shapely.get_parts(geometry)):
        yield shapely.get_coordinates(ring)


def _mark_field(picture: NDArray[np.uint8], field: Box, scale: float) -> None:
    corners = [(round(x * scale), round(y * scale)) for x, y in ((field.x, field.y), (field.right, field.bottom))]
    cv2.rectangle(picture, corners[0], corners[1], (255, 255, 255), 6, cv2.LINE_AA)
    cv2.rectangle(picture, corners[0], corners[1], _DARK, 3, cv2.LINE_AA)


def _with_scale_bar(picture: NDArray[np.uint8], um_per_px: float, *, size: int = 24) -> NDArray[np.uint8]:
    """A bar of a round length on a pale plate in the lower left corner; none where there is no room for it."""
    height, width = picture.shape[:2]
    length_um, label = round_length_um(0.22 * width * um_per_px)
    bar = length_um / um_per_px
    inner = max(bar, width_of(label, size))
    plate_w, plate_h, gap = inner + 28, size + 34, 16
    if plate_w + 2 * gap > width or plate_h + 2 * gap > height:
        return picture
    left, top = gap, height - gap - plate_h
    place = (slice(top, top + plate_h), slice(left, left + round(plate_w)))
    # A pale plate keeps the bar readable on any tissue.
    picture[place] = np.rint(picture[place] * 0.15 + 255 * 0.85).astype(np.uint8)
    page = Page.on(picture)
    page.text(left + 14 + (inner - width_of(label, size)) / 2, top + 4, label, size, _DARK)
    page.box(left + 14 + (inner - bar) / 2, top + plate_h - 18, bar, 7, _DARK)
    return page.pixels()


def _draw_detail(detail: tuple[NDArray[np.uint8], Box, Cells], taxonomy: Taxonomy, mpp: float) -> NDArray[np.uint8]:
    """The field as wide as the panel's text, with its cells, a frame and a scale bar."""
    image, field, cells = detail
    width = _PANEL - 2 * _EDGE
    picture = _resized(image, width / image.shape[1])
    scale = picture.shape[1] / field.width
    picture, _ = draw_cells(picture, [cells], taxonomy, scale, origin=(field.x, field.y))
    page = Page.on(_with_scale_bar(picture, mpp / scale, size=18))
    page.frame(0, 0, picture.shape[1], picture.shape[0], _DARK, 3)
    return page.pixels()


_Row = tuple[str, int, Colour]


def _rows(counts: Mapping[str, int], taxonomy: Taxonomy) -> list[_Row]:
    """Name, count and colour of every class, the taxonomy's first and in its order."""
    colours = class_colours(taxonomy)
    names = [*taxonomy.names, *(name for name in counts if name not in taxonomy.names)] or ["cell"]
    rows: list[_Row] = []
    for i, name in enumerate(names):
        colour = colours[min(i, len(colours) - 1)] if i < max(1, len(taxonomy)) else (128, 128, 128)
        rows.append((name, int(counts.get(name, 0)), (int(colour[0]), int(colour[1]), int(colour[2]))))
    return rows


class _Legend:
    """Title, totals and a row a class, in as many columns as the width given allows."""

    def __init__(self, title: str, model: str, rows: list[_Row], area_mm2: float | None, note: str) -> None:
        self._title, self._model, self._rows, self._area_mm2, self._note = title, model, rows, area_mm2, note
        self._total = sum(count for _, count, _ in rows)

    def height(self, width: int, columns: int) -> int:
        head = sum(line for _, _, _, line in self._head(width))
        return head + 106 + -(-len(self._rows) // columns) * _ROW + 40

    def _head(self, width: int) -> list[tuple[str, int, Colour, int]]:
        """Text, size, colour and height of each line of the title, and of the model below it."""
        size = next((s for s in range(36, 27, -1) if width_of(self._title, s) <= width), 28)
        title = [(line, size, _DARK, size + 6) for line in wrapped(self._title, size, width, most=4)]
        model = [(line, 20, _MUTED, 28) for line in wrapped(self._model, 20, width, most=3) if line]
        *others, (text, size, colour, height) = title + model
        return [*others, (text, size, colour, height + 10)]

    def draw(self, page: Page, x: int, y: int, width: int, columns: int = 1) -> None:
        """Draw within `width` px from (x, y) on."""
        for text, size, colour, height in self._head(width):
            page.fitted(x, y, text, size, colour, width, smallest=min(size, 24))
            y += height
        page.text(x, y, self._headline(), 26, _DARK)
        page.text(x, y + 36, self._subline(), 20, _MUTED)
        y -= 52  # where one line of title would have begun
        page.box(x, y + 128, width, 2, _RULE)
        gap = 44
        column_width = (width - gap * (columns - 1)) // columns
        per_column = -(-len(self._rows) // columns)
        for i, row in enumerate(self._rows):
            column, line = divmod(i, per_column)
            self._draw_row(page, x + column * (column_width + gap), y + 146 + line * _ROW, column_width, row)
        page.fitted(x, y + 152 + per_column * _ROW, self._note if self._total else "", 17, _MUTED, width)

    def _headline(self) -> str:
        if self._total == 0:
            return "No cells found"
        return counted(self._total, "cell")

    def _subline(self) -> str:
        if self._area_mm2 is None:
            return "whole image searched"
        area = f"{area_text(self._area_mm2)} of tissue"
        if self._total == 0 or self._area_mm2 == 0:
            return area
        return f"{self._total / self._area_mm2:,.0f} per mm² · {area}"

    def _draw_row(self, page: Page, x: int, y: int, width: int, row: _Row) -> None:
        name, count, colour = row
        share = count / self._total if self._total else 0.0
        page.box(x, y + 4, 22, 22, colour, radius=6)
        figures = f"{count:,}"
        page.text(x + width, y + 1, f"{100 * share:.1f} %", 20, _MUTED, right=True)
        page.text(x + width - 88, y, figures, 22, _DARK, right=True)
        page.fitted(x + 36, y, name, 22, _DARK, round(width - 36 - 100 - width_of(figures, 22)))
        page.box(x, y + 36, width, 6, _RULE, radius=3)
        if share > 0:
            page.box(x, y + 36, max(6, width * share), 6, colour, radius=3)


def _compose(picture: NDArray[np.uint8], legend: _Legend, detail: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Picture and panel on one page: beside each other, or one above the other for a wide slide."""
    height, width = picture.shape[:2]
    if width > 1.75 * height:
        return _compose_below(picture, legend, detail)
    detail_height = 0 if detail is None else detail.shape[0] + 24
    needed = legend.height(_PANEL - 2 * _EDGE, 1) + detail_height + 2 * _EDGE
    page = Page(width + _PANEL, max(height, needed))
    page.paste(picture, 0, (page.image.height - height) // 2)
    legend.draw(page, width + _EDGE, _EDGE, _PANEL - 2 * _EDGE)
    if detail is not None:
        page.paste(detail, width + _EDGE, page.image.height - _EDGE - detail.shape[0])
    return page.pixels()


def _compose_below(picture: NDArray[np.uint8], legend: _Legend, detail: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    width = max(width, 2 * _PANEL)
    room = width - 2 * _EDGE - (0 if detail is None else detail.shape[1] + _EDGE)
    columns = max(1, room // 420)
    below = max(legend.height(room, columns), 0 if detail is None else detail.shape[0])
    page = Page(width, height + below + 2 * _EDGE)
    page.paste(picture, 0, 0)
    legend.draw(page, _EDGE, height + _EDGE, room, columns)
    if detail is not None:
        page.paste(detail, width - _EDGE - detail.shape[1], height + _EDGE)
    return page.pixels()
