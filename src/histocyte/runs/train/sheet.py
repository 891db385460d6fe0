"""A sheet of crops with their outlines, as a training sees them before they are varied: it shows wrong labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.outlines import trace_outlines
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.sample import IGNORED, Sample
from histocyte.results.overview.lettering import Colour, Page, width_of
from histocyte.training.crops import Crop

__all__ = ["Row", "draw_sheet"]

_TILE_PX, _GAP_PX, _EDGE_PX = 360, 12, 24
_TITLE, _TEXT = 20, 16
_DARK: Colour = (28, 30, 46)
_MUTED: Colour = (92, 96, 114)
_UNKNOWN: Colour = (0, 200, 210)
_SEVERAL: Colour = (255, 255, 255)
_PALE = 170
"""Grey level that pixels of which nothing is learnt are brought near to."""
_FINER = 4
"""Bits of a pixel that outlines are drawn to."""


@dataclass(frozen=True, slots=True)
class Row:
    """Crops of one set.

    Attributes:
        title: Name of the set.
        note: What to know of it, on the right of its name.
        crops: Without augmentation; `Crop.sample` is an index of the samples.
    """

    title: str
    note: str
    crops: Sequence[Crop]


def draw_sheet(rows: Sequence[Row], samples: Sequence[Sample], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Draw the sheet.

    Args:
        rows: One for each set.
        samples: That the crops are of.
        taxonomy: Classes and their colours.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    columns = max(2, *(len(row.crops) for row in rows))
    width = 2 * _EDGE_PX + columns * (_TILE_PX + _GAP_PX) - _GAP_PX
    entries = _legend(taxonomy)
    lines = _lines(list(entries), width - 2 * _EDGE_PX)
    head = _EDGE_PX + len(lines) * (_TEXT + 10) + _GAP_PX
    each = _TITLE + _GAP_PX + _TILE_PX + _EDGE_PX
    page = Page(width, head + len(rows) * each)
    for number, line in enumerate(lines):
        x, y = float(_EDGE_PX), _EDGE_PX + number * (_TEXT + 10)
        for name in line:
            page.box(x, y, _TEXT, _TEXT, entries[name])
            page.frame(x, y, _TEXT, _TEXT, _MUTED, 1)
            page.text(x + _TEXT + 6, y - 1, name, _TEXT, _DARK)
            x += _entry_width(name)
    for number, row in enumerate(rows):
        y = head + number * each
        page.text(_EDGE_PX, y, row.title, _TITLE, _DARK)
        left = _EDGE_PX + width_of(row.title, _TITLE) + 16
        page.fitted(left, y + 3, row.note, _TEXT, _MUTED, width - _EDGE_PX - left)
        for column, crop in enumerate(row.crops):
            tile = _tile(crop, samples[crop.sample], taxonomy)
            page.paste(tile, _EDGE_PX + column * (_TILE_PX + _GAP_PX), y + _TITLE + _GAP_PX)
    return page.pixels()


def _legend(taxonomy: Taxonomy) -> Mapping[str, Colour]:
    unknown = "of none of the classes" if len(taxonomy) else "nucleus"
    several = {"one of several classes": _SEVERAL} if len(taxonomy) else {}
    classes = {c.name: c.colour for c in taxonomy.classes}
    return {**classes, unknown: _UNKNOWN, **several, "pale: nothing is learnt there": (_PALE + 50,) * 3}


def _lines(names: Sequence[str], width: float) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    for name in names:
        if lines[-1] and sum(map(_entry_width, [*lines[-1], name])) > width:
            lines.append([])
        lines[-1].append(name)
    return lines


def _entry_width(name: str) -> float:
    return _TEXT + 6 + width_of(name, _TEXT) + 24


def _tile(crop: Crop, sample: Sample, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """A crop at the size of a tile, with an outline around every nucleus, and pale where nothing is learnt."""
    scale = _TILE_PX / crop.image.shape[0]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    ignored = (crop.instances == IGNORED).astype(np.uint8)
    image = np.where(ignored[..., None] == 1, crop.image // 3 + _PALE, crop.image).astype(np.uint8)
    tile = np.ascontiguousarray(cv2.resize(image, (_TILE_PX, _TILE_PX), interpolation=how))
    labels = np.ascontiguousarray(np.maximum(crop.instances, 0))
    points, offsets = trace_outlines(labels)
    fine = np.round(points * (scale * 2**_FINER)).astype(np.int32)
    thick = max(1, math.ceil(_TILE_PX / 256))
    for number in np.unique(labels[labels > 0]):
        ring = fine[offsets[number - 1] : offsets[number]]
        colour = _colour(int(number), sample, taxonomy)
        cv2.polylines(tile, [ring], True, colour, thick, cv2.LINE_AA, _FINER)
    return tile


def _colour(number: int, sample: Sample, taxonomy: Taxonomy) -> Colour:
    may_be = 0 if sample.one_of is None else int(sample.one_of[number].sum())
    if may_be > 1:
        return _SEVERAL
    kind = 0 if sample.types is None else int(sample.types[number])
    return taxonomy.classes[kind - 1].colour if kind else _UNKNOWN
