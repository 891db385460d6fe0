"""The page of an evaluation of tissue: scores, confusion, and the tiles with most wrong pixels."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.taxonomy import Taxonomy
from histocyte.evaluation.regions import REGION_SCORES, FoundRegions, RegionImage, RegionReport
from histocyte.pages.page import check_html, write_page
from histocyte.pages.text import interval_text, number
from histocyte.statistics.bootstrap import FEW_GROUPS, Estimate

if TYPE_CHECKING:
    from histocyte.datasets.sample import Sample

__all__ = ["TILE_UM", "RegionGallery", "write_region_page"]

TILE_UM = 256.0
"""Side of a tile: a few glands, each still large enough to judge its border."""

_WORST = 12
_STEPS = 4
"""Tiles start at every quarter of their side."""
_SHOWN_PX = 320
_QUALITY = 82
_WRONG = (213, 94, 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    scores: RegionImage
    place: tuple[int, int]
    wrong: float
    image: NDArray[np.uint8]
    truth: NDArray[np.int32]
    found: NDArray[np.int32]


class RegionGallery:
    """Keeps of each data set the tiles with most wrong pixels, one of an image, and nothing else of the images."""

    def __init__(self) -> None:
        self._kept: dict[str, list[_Tile]] = {}

    def add(self, sample: Sample, found: FoundRegions, scores: RegionImage) -> None:
        """See an image; its worst tile is kept if it is among the worst of its data set.

        Args:
            sample: The image with its labels.
            found: What the model said of it.
            scores: The image's scores.
        """
        truth, guess = sample.class_map, np.asarray(found.classes, np.int32)
        wrong = (truth != guess) & (truth >= 0)
        side = max(1, round(TILE_UM / sample.mpp))
        x, y, share = _worst_place(wrong, side)
        if share == 0:
            return
        part = (slice(y, y + side), slice(x, x + side))
        tile = _Tile(scores, (x, y), share, sample.image[part].copy(), truth[part], guess[part])
        kept = self._kept.setdefault(scores.source, [])
        kept.append(tile)
        kept.sort(key=lambda each: -each.wrong)
        del kept[_WORST:]

    def pictures(self, taxonomy: Taxonomy) -> list[dict[str, object]]:
        """By data set the tiles as the template shows them."""
        return [
            {"name": source, "tiles": [_picture(tile, taxonomy) for tile in tiles]}
            for source, tiles in self._kept.items()
        ]


def write_region_page(
    report: RegionReport,
    path: Path,
    taxonomy: Taxonomy,
    *,
    title: str,
    facts: Mapping[str, str] = MappingProxyType({}),
    gallery: RegionGallery,
) -> None:
    """Write the page, whole or not at all.

    Args:
        report: The scores.
        path: The file.
        taxonomy: The classes and their colours.
        title: Heading of the page.
        facts: What was scored, name → value.
        gallery: The worst tiles.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        InputError: The path is a folder.
        DiskError: The file could not be written.
    """
    check_html(path)
    intervals = f"95 %, bootstrap over patients or slides, {report.replicates:,} resamples, seed {report.seed}. "
    write_page(
        path,
        __package__,
        "regions.html.jinja",
        title=title,
        facts=[*facts.items(), ("Intervals", intervals + FEW_GROUPS)],
        sources=[_source(name, report) for name in report.sources],
        gallery=gallery.pictures(taxonomy),
        tile_um=f"{TILE_UM:g}",
        legend=[{"name": c.name, "colour": _css(c.colour)} for c in taxonomy.classes],
        wrong=_css(_WRONG),
    )


def _source(name: str, report: RegionReport) -> dict[str, object]:
    source = report.sources[name]
    pixels = source.confusion / np.maximum(source.confusion.sum(axis=1, keepdims=True), 1)
    rows = [row for row in report.images if row.source == name]
    heads = [key for key in REGION_SCORES if key in rows[0].scores()]
    return {
        "name": name,
        "images": f"{source.n_images:,}",
        "groups": f"{source.n_groups:,}",
        "scores": [
            {"title": REGION_SCORES[key][0], "about": REGION_SCORES[key][1], **_cell(score)}
            for key, score in source.scores.items()
        ],
        "classes": [
            {"name": kind, "dice": _cell(dice), "iou": _cell(iou)}
            for kind, iou, dice in zip(report.class_names, source.iou, source.dice, strict=True)
        ],
        "confusion_heads": list(report.class_names),
        "confusion": [
            {"name": kind, "cells": [f"{share:.1%}" for share in shares]}
            for kind, shares in zip(report.class_names, pixels, strict=True)
        ],
        "image_heads": [REGION_SCORES[key][0] for key in heads],
        "rows": [
            {"name": row.name, "group": row.group, "cells": [number(row.scores()[key]) for key in heads]}
            for row in sorted(rows, key=lambda row: row.counts.mean_dice)
        ],
    }


def _cell(score: Estimate) -> dict[str, str]:
    return {"value": number(score.value), "interval": interval_text(score), "n": f"{score.n:,}"}


def _worst_place(wrong: NDArray[np.bool_], side: int) -> tuple[int, int, float]:
    """x, y of the window with most wrong pixels, and their share of it."""
    sums = np.pad(wrong.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    height, width = wrong.shape
    starts = [np.unique(np.minimum(np.arange(0, n, max(1, side // _STEPS)), max(0, n - side))) for n in (height, width)]
    top, left = np.meshgrid(*starts, indexing="ij")
    bottom, right = np.minimum(top + side, height), np.minimum(left + side, width)
    counts = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    row, column = np.unravel_index(int(counts.argmax()), counts.shape)
    area = (bottom - top)[row, column] * (right - left)[row, column]
    return int(left[row, column]), int(top[row, column]), float(counts[row, column] / area)


def _picture(tile: _Tile, taxonomy: Taxonomy) -> dict[str, object]:
    x, y = tile.place
    wrong = ((tile.truth != tile.found) & (tile.truth >= 0)).astype(np.int32)
    tissue = [colour.colour for colour in taxonomy.classes]
    panels = (
        ("image", tile.image),
        ("truth", _tinted(tile.image, tile.truth, tissue)),
        ("found", _tinted(tile.image, tile.found, tissue)),
        ("wrong", _tinted(tile.image, wrong, [_WRONG])),
    )
    at = f"at {x:,}, {y:,}" if (x, y) != (0, 0) else "at its corner"
    return {
        "caption": f"{tile.scores.name}, {at}: {tile.wrong:.0%} of the pixels are wrong",
        "panels": [{"title": title, "uri": _uri(pixels)} for title, pixels in panels],
    }


def _tinted(
    image: NDArray[np.uint8], classes: NDArray[np.int32], colours: list[tuple[int, int, int]]
) -> NDArray[np.uint8]:
    """An image with a tint over each class, an outline around it, and grey where the class is not known."""
    shown = image.copy()
    for number_, colour in enumerate(colours, 1):
        mask = classes == number_
        shown[mask] = (0.65 * shown[mask] + 0.35 * np.array(colour)).astype(np.uint8)
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, lines, -1, colour, max(1, image.shape[0] // 256))
    shown[classes < 0] = 128
    return shown


def _uri(pixels: NDArray[np.uint8]) -> str:
    height, width = pixels.shape[:2]
    scale = min(1.0, _SHOWN_PX / max(height, width))
    small = pixels
    if scale < 1:
        small = np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    _, coded = cv2.imencode(".webp", small[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return "data:image/webp;base64," + base64.b64encode(coded.tobytes()).decode()


def _css(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)
