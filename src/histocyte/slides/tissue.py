"""Where on a slide there is tissue, from a thumbnail.

Stain is colour: tissue is what differs from glass in hue, however faint, while dust, shading, scan frames and
bubbles are grey. Ink is colour too; it is told from tissue by hues that no stain has in the company of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from histocyte.core.geometry import Box
from histocyte.slides.protocol import SlideReader, working_size
from histocyte.slides.region import Region

__all__ = ["Region", "Tissue", "find_tissue"]

_MAX_THUMBNAIL_PX = 4096
_MIN_THUMBNAIL_PX = 512
_FIELD_MM2 = 0.1
"""A smaller image is a field of view that somebody chose: all of it is searched."""
_COLOUR_LOW, _COLOUR_HIGH = 8.0, 14.0
"""Bounds of the threshold between glass and tissue: spread of the colour channels, 0–255 of white."""
_WHOLE_FRACTION = 0.95
_NEAR_UM, _CLOSE_UM, _INK_UM = 40.0, 20.0, 12.0
_RIM_SHARE, _RIM_PX = 0.5, 2
"""A pixel counts as tissue from this share of the strongest stain so near to it, the middle of a blurred rim."""
RIM_UM = 24.0
"""How far beyond the outline is searched: single cells, wisps and dark clumps stand off from it."""
_SPECK_MM2, _MIN_TISSUE_MM2, _MAX_HOLE_MM2 = 0.001, 0.005, 0.25
_MAX_INK_SHARE, _ALL_INK_SHARE = 0.4, 0.9
"""Shares of the coloured area that look like ink: from the first it may be the stain (Nissl, Giemsa) that
does, from the second it is taken for it, since a slide with ink alone costs time and a slide thrown away cells."""


@dataclass(frozen=True, slots=True)
class Tissue:
    """What is to be searched on a slide.

    Attributes:
        region: Tissue outlines, level-0 px, for areas and pictures; empty on empty glass and in fluorescence.
        searched: The same and `RIM_UM` around it, so that no cell of the rim is lost.
        kind: What the slide looks like: stained tissue on glass, light on dark, or tissue from edge to edge.
        note: One sentence for the report; empty if there is nothing to say.
    """

    region: Region
    searched: Region
    kind: Literal["brightfield", "fluorescence", "whole"]
    note: str

    @property
    def beyond_um(self) -> float:
        """How far beyond the outline is searched, µm."""
        return 0.0 if self.searched is self.region else RIM_UM


def find_tissue(reader: SlideReader, *, thumbnail_mpp: float = 8.0) -> Tissue:
    """Find the tissue of a brightfield slide.

    Args:
        reader: The slide.
        thumbnail_mpp: Resolution to look at, µm/px; small images are looked at finer, huge ones coarser.

    Raises:
        SlideError: The file is damaged.
    """
    thumbnail, mpp = _thumbnail(reader, thumbnail_mpp)
    whole, empty = Region.whole(reader, "Tissue"), Region((), ())
    if _is_dark(thumbnail):
        note = "The slide is bright on dark, as in fluorescence: no H&E or Nissl brightfield image."
        return Tissue(empty, empty, "fluorescence", note)
    width_px, height_px = reader.size
    if width_px * height_px * reader.mpp**2 / 1e6 < _FIELD_MM2:
        return Tissue(whole, whole, "whole", "A field of view: all of it is searched.")
    mask = tissue_mask(thumbnail, mpp)
    if mask.mean() >= _WHOLE_FRACTION:
        return Tissue(whole, whole, "whole", "Tissue from edge to edge: all of it is searched.")
    region, searched = (_outlines(m, mpp / reader.mpp, reader.size) for m in (mask, _dilate(mask, mpp, RIM_UM)))
    note = "" if region.parts else "No tissue was found: the slide looks empty."
    return Tissue(region, searched, "brightfield", note)


def tissue_mask(rgb: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """(H, W) where tissue is on a brightfield thumbnail (H, W, 3) at `mpp` µm/px."""
    smooth = cv2.GaussianBlur(rgb, (0, 0), 1.0).astype(np.float32)
    white = np.minimum(smooth / _glass(smooth), 1.0) * 255.0
    colour = white.max(axis=2) - white.min(axis=2)
    threshold = float(np.clip(_otsu(colour), _COLOUR_LOW, _COLOUR_HIGH))
    mask = (colour > threshold) & ~_black(smooth)
    mask &= ~_ink(white, mask, mpp)
    return _tidy(mask, _not_blurred(colour), mpp)


def _not_blurred(colour: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where there is a fair share of the stain nearby.

    A threshold that finds faint tissue also takes in what the edge of strong tissue is blurred over, a pixel or more
    all around: 10 µm and more on a thumbnail.
    """
    strongest = cv2.dilate(cv2.GaussianBlur(colour, (0, 0), 1.0), _disk(_RIM_PX))
    return np.asarray(colour > _RIM_SHARE * strongest, np.bool_)


def _thumbnail(reader: SlideReader, wanted_mpp: float) -> tuple[NDArray[np.uint8], float]:
    longest_um = max(reader.size) * reader.mpp
    mpp = min(wanted_mpp, longest_um / _MIN_THUMBNAIL_PX)
    mpp = max(mpp, reader.mpp, longest_um / _MAX_THUMBNAIL_PX)
    return reader.read(Box(0, 0, *working_size(reader, mpp)), mpp=mpp), mpp


def _is_dark(rgb: NDArray[np.uint8]) -> bool:
    """Mostly black, and next to nothing as pale as glass or tissue (which a black scan frame would leave)."""
    return bool((rgb.max(axis=2) < 80).mean() > 0.5 and (rgb.min(axis=2) > 130).mean() < 0.1)


def _glass(smooth: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) colour of empty glass; near white where none is in sight.

    Glass is the commonest of the brightest colours; what is pinkish is pale stroma. Pure white is what a scanner
    left out.
    """
    default = np.full(3, 245.0, np.float32)
    low, high = smooth.min(axis=2), smooth.max(axis=2)
    pale = (low > 140) & (high - low < 25) & (smooth[..., 0] - smooth[..., 1] < 10)
    seen = pale & (low < 253)
    if seen.mean() < 0.01:
        return default
    brightness = smooth.mean(axis=2)[seen]
    counts = np.bincount(brightness.astype(np.int64), minlength=256)
    mode = int(np.argmax(np.convolve(counts, np.ones(5), "same")))
    if mode < np.percentile(brightness, 95) - 20:
        return default
    near = smooth[seen][np.abs(brightness - mode) <= 4]
    return np.asarray(np.median(near, axis=0), np.float32)


def _otsu(values: NDArray[np.float32]) -> float:
    threshold, _ = cv2.threshold(np.clip(values, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    return float(threshold)


def _black(smooth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Black ink and scan frames: dark, and with less colour for their darkness than any stain."""
    high = smooth.max(axis=2)
    return np.asarray((high < 130) & (high - smooth.min(axis=2) < 0.12 * (255 - smooth.mean(axis=2))), np.bool_)


def _ink(white: NDArray[np.float32], mask: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Pen marks: seeds of a colour that only ink has, grown over what is of the same hue."""
    red, green, blue = white[..., 0], white[..., 1], white[..., 2]
    pink = red > green + 8
    enough_px = 4 * _MIN_TISSUE_MM2 * 1e6 / mpp**2
    marks = np.zeros(mask.shape, np.bool_)
    for is_pink, seed, same_hue in (
        (False, (green - red > 30) & (green > blue - 20), green > red + 4),
        (False, (blue - red > 90) & (green > red + 10), (blue > green) & (green > red + 2)),
        (True, (red - np.maximum(green, blue) > 110) & (blue - green < 30), (red - blue > 20) & (blue - green < 20)),
    ):
        grown = _connected(same_hue & mask, seed)
        # Pink tissue well apart from blue or green marks tells that those are not the stain.
        apart = not is_pink and (mask & pink & ~_connected(mask, grown)).sum() > enough_px
        if apart or not _is_stain(grown, mask):
            marks |= grown
    # The rim of a mark is mixed with glass and has any hue.
    marks = cv2.morphologyEx(marks.astype(np.uint8), cv2.MORPH_OPEN, _disk(_INK_UM / mpp)).astype(np.bool_)
    return _dilate(marks, mpp, 2 * _INK_UM)


def _is_stain(grown: NDArray[np.bool_], mask: NDArray[np.bool_]) -> bool:
    """Whether what looks like ink is so much, and so mixed with the rest, that it must be a blue or green stain."""
    share = grown.sum() / max(1, mask.sum())
    if share < _MAX_INK_SHARE or share > _ALL_INK_SHARE:
        return bool(share > _ALL_INK_SHARE)
    rest = mask & ~grown
    return bool((_connected(mask, grown) & rest).sum() > 0.5 * rest.sum())


def _connected(mask: NDArray[np.bool_], seed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Components of the mask that hold a seed."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    kept = np.zeros(int(labels.max()) + 1, np.bool_)
    kept[np.unique(labels[seed & mask])] = True
    kept[0] = False
    return np.asarray(kept[labels], np.bool_)


def _tidy(mask: NDArray[np.bool_], sharp: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Keep what is large together with what is close to it, holes filled, up to an edge of what is `sharp`."""
    px_per_mm2 = 1e6 / mpp**2
    mask = _keep_large(mask, _SPECK_MM2 * px_per_mm2)
    together = _keep_large(_filled(mask, mpp, _NEAR_UM), _MIN_TISSUE_MM2 * px_per_mm2)
    return together & _filled(mask & sharp, mpp, _CLOSE_UM)


def _filled(mask: NDArray[np.bool_], mpp: float, close_um: float) -> NDArray[np.bool_]:
    """The mask with its gaps closed and its smaller holes filled."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disk(close_um / mpp)).astype(np.bool_)
    return ~_keep_large(~closed, _MAX_HOLE_MM2 * 1e6 / mpp**2, or_at_edge=True)


def _keep_large(mask: NDArray[np.bool_], min_px: float, *, or_at_edge: bool = False) -> NDArray[np.bool_]:
    """Components of `min_px` or more; with `or_at_edge` also smaller ones that touch the image's edge."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= min_px
    if or_at_edge:
        kept[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    kept[0] = False
    return np.asarray(kept[labels], np.bool_)


def _dilate(mask: NDArray[np.bool_], mpp: float, radius_um: float) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), _disk(radius_um / mpp)).astype(np.bool_)


def _disk(radius_px: float) -> NDArray[np.uint8]:
    radius = max(1, round(radius_px))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _outlines(mask: NDArray[np.bool_], downsample: float, size: tuple[int, int]) -> Region:
    """Outlines of a mask in level-0 px, holes kept, cut at the slide's edge, largest first."""
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # OpenCV runs through the centres of the outermost pixels: half a pixel outwards is their edge.
    rings = [(contour[:, 0, :].astype(np.float64) + 0.5) for contour in contours]
    polygons = []
    for i, ring in enumerate(rings):
        if hierarchy[0, i, 3] >= 0 or len(ring) < 3:
            continue
        holes = [rings[j] for j in range(len(rings)) if hierarchy[0, j, 3] == i and len(rings[j]) >= 3]
        polygons.append(shapely.Polygon(ring, holes))
    outlines = shapely.union_all([shapely.make_valid(p).buffer(0.5, join_style="mitre") for p in polygons])
    scaled = shapely.transform(outlines.simplify(0.7), lambda xy: xy * downsample)
    parts = shapely.get_parts(scaled.intersection(shapely.box(0, 0, *size)))
    ordered = sorted((p for p in parts if p.geom_type == "Polygon" and p.area > 0), key=lambda p: -p.area)
    return Region(tuple(ordered), ("Tissue",) * len(ordered))
