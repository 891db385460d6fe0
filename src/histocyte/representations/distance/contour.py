"""Where cells touch by CISCA's full rule: contours mended where they are broken, widened where they are thin.

Vadori et al., CISCA and CytoDArk0 (arXiv 2409.04175). Two things that rule leaves open are settled here: what is set
hangs together through corners too, a hole in it through sides alone, and a hole may be open to the field's border; the
two octagons are squares whose corners are cut by 2 px.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.representations.distance.targets import BACKGROUND, BODY, CONTOUR, one_hot, touching

__all__ = ["CONTOURS", "ContourConstants", "full_semantic_map", "full_semantic_map_plain"]

_GAP = 3
"""Background between cells that stand near each other: told apart on the way, background in the end."""
_MIN_GAP_PX, _MIN_BODY_PX, _MIN_CONTOUR_PX = 3, 2, 2
"""Smaller pieces of gap and of body become contour where they touch it; smaller pieces of contour are none."""

_Mask = NDArray[np.bool_]


def _square(side: int) -> _Mask:
    return np.ones((side, side), np.bool_)


def _cut_square(side: int, most: int) -> _Mask:
    """A square without the pixels whose steps from its centre, up and down and aside, are more than `most`."""
    reach = side // 2
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(abs(rows) + abs(columns) <= most, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class ContourConstants:
    """What the published program sets by magnification."""

    gap: _Mask
    """Background is gap where it is too narrow to hold this shape."""
    touch: _Mask
    """A pixel is contour where another cell lies within this shape around it."""
    near: _Mask
    """The same for the wide contours, of which only thin ones count."""
    thin: _Mask
    """A piece of wide contour is thin where this shape fits nowhere into it."""
    growth: tuple[_Mask, _Mask]
    """By how much small pieces of contour grow, in two rounds."""
    small_px: tuple[int, int]
    """Pieces of fewer pixels are small, in either round."""
    hole_px: int
    """Holes of so many pixels, or fewer, are filled."""


CONTOURS = {
    20: ContourConstants(
        gap=_square(5),
        touch=_square(3),
        near=_square(5),
        thin=_square(3),
        growth=(_square(3), _cut_square(3, 1)),
        small_px=(2, 4),
        hole_px=3,
    ),
    40: ContourConstants(
        gap=_cut_square(9, 6),
        touch=_cut_square(5, 2),
        near=_cut_square(11, 8),
        thin=_square(5),
        growth=(_cut_square(5, 2), _square(3)),
        small_px=(6, 11),
        hole_px=8,
    ),
}
"""By magnification: 20 is 0.5 µm/px, 40 is 0.25."""


def full_semantic_map(labels: NDArray[np.int32], constants: ContourConstants) -> NDArray[np.float32]:
    """(3, H, W) one-hot: contour between touching cells, body of a cell, background.

    A pixel of a cell is contour where another cell lies near. Small holes in contours are filled, also in background;
    small pieces grow, so that a contour is not broken; and where cells touch by so little that even a wide contour
    stays thin, the wide one counts. Single pixels left over join what surrounds them.

    Args:
        labels: (H, W) int32, 0 background.
        constants: Constants of `CONTOURS`.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    cells = labels > 0
    semantic = np.where(cells, BODY, BACKGROUND).astype(np.uint8)
    closed = cv2.morphologyEx(cells.astype(np.uint8), cv2.MORPH_CLOSE, constants.gap.astype(np.uint8)) > 0
    gap = closed & ~cells
    semantic[_filled(gap, constants.hole_px) & ~cells] = _GAP
    contour = _filled(_contour(labels, constants.touch), constants.hole_px)
    for shape, least in zip(constants.growth, constants.small_px, strict=True):
        grown = cv2.dilate(_pieces_under(contour, least).astype(np.uint8), shape.astype(np.uint8)) > 0
        contour = _filled(contour | (grown & cells), constants.hole_px)
    semantic[contour] = CONTOUR
    semantic[_thin(_filled(_contour(labels, constants.near), constants.hole_px), constants.thin)] = CONTOUR
    for part, least in ((_GAP, _MIN_GAP_PX), (BODY, _MIN_BODY_PX)):
        semantic[_pieces_under(semantic == part, least, beside=semantic == CONTOUR)] = CONTOUR
    lone = _pieces_under(semantic == CONTOUR, _MIN_CONTOUR_PX)
    semantic[lone] = np.where(cells, BODY, BACKGROUND)[lone]
    return one_hot(np.where(semantic == _GAP, BACKGROUND, semantic))


def _contour(labels: NDArray[np.int32], shape: _Mask) -> _Mask:
    """Pixels of a cell with another cell within a shape around them."""
    return np.asarray(touching(labels, np.argwhere(shape) - len(shape) // 2) == CONTOUR, np.bool_)


def _pieces_under(mask: _Mask, least: int, *, beside: _Mask | None = None) -> _Mask:
    """Pieces of a mask with fewer pixels; of these, if told, only those that another mask touches."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    chosen = stats[:, cv2.CC_STAT_AREA] < least
    chosen[0] = False
    if beside is not None:
        around = cv2.dilate(beside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        chosen &= np.bincount(pieces[around], minlength=count) > 0
    return np.asarray(chosen[pieces], np.bool_)


def _filled(mask: _Mask, most: int) -> _Mask:
    """A mask and its holes of so many pixels or fewer."""
    _, holes, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    chosen = stats[:, cv2.CC_STAT_AREA] <= most
    chosen[0] = False
    return np.asarray(mask | chosen[holes], np.bool_)


def _thin(mask: _Mask, shape: _Mask) -> _Mask:
    """Pieces of a mask that a shape fits into nowhere; where the field's border cuts one, it goes on beyond."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    held = cv2.erode(mask.astype(np.uint8), shape.astype(np.uint8)) > 0
    return np.asarray(mask & (np.bincount(pieces[held], minlength=count) == 0)[pieces], np.bool_)


def full_semantic_map_plain(labels: NDArray[np.int32], constants: ContourConstants) -> NDArray[np.float32]:
    """The same as `full_semantic_map`, step by step in SciPy as published: what the other must agree with."""
    from scipy import ndimage

    square = np.ones((3, 3), np.bool_)
    cells = labels > 0
    ids = np.unique(labels[cells])

    def pieces(mask: _Mask, structure: _Mask | None = square) -> list[_Mask]:
        numbered, count = ndimage.label(mask, structure)
        return [numbered == number for number in range(1, count + 1)]

    def union(masks: list[_Mask]) -> _Mask:
        return np.logical_or.reduce(masks) if masks else np.zeros(labels.shape, np.bool_)

    def filled(mask: _Mask) -> _Mask:
        return mask | union([p for p in pieces(~mask, None) if p.sum() <= constants.hole_px])

    def shared(shape: _Mask) -> _Mask:
        covering = sum((ndimage.binary_dilation(labels == i, shape) for i in ids), np.zeros(labels.shape, np.int64))
        return np.asarray((covering > 1) & cells, np.bool_)

    high = ndimage.grey_dilation(labels, footprint=constants.gap, mode="constant", cval=0)
    top = ndimage.grey_erosion(high, footprint=constants.gap, mode="constant", cval=np.iinfo(np.int32).max) - labels > 0
    semantic = np.ones(labels.shape, np.uint8)
    semantic[~cells & ~top] = 2
    semantic[~cells & top] = 3
    semantic[filled(semantic == 3) & ~cells] = 3
    contour = filled(shared(constants.touch))
    for shape, least in zip(constants.growth, constants.small_px, strict=True):
        small = union([p for p in pieces(contour) if p.sum() < least])
        contour = filled(contour | (ndimage.binary_dilation(small, shape) & cells))
    semantic[contour] = 0
    wide = filled(shared(constants.near))
    kept = ndimage.binary_propagation(ndimage.binary_erosion(wide, constants.thin, border_value=1), square, mask=wide)
    semantic[wide & ~kept] = 0
    for part, least in ((3, 3), (1, 2)):
        beside = ndimage.binary_dilation(semantic == 0, square)
        semantic[union([p for p in pieces(semantic == part) if p.sum() < least and (p & beside).any()])] = 0
    lone = union([p for p in pieces(semantic == 0) if p.sum() < 2])
    semantic[lone] = np.where(cells, 1, 2)[lone]
    semantic[semantic == 3] = 2
    return np.stack([semantic == part for part in range(3)]).astype(np.float32)
