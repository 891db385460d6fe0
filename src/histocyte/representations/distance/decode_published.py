"""Cells read back from CISCA's maps the published way (compiled).

Vadori et al., CISCA and CytoDArk0 (arXiv 2409.04175). For comparison and for constants tuned on it: it stretches
each gradient over the field's own range, so a cell depends on what else the field holds, and it loses small cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.labels import clean_instances
from histocyte.representations.shared.thinning import skeleton
from histocyte.representations.shared.watershed import drop_small, flood

__all__ = ["PUBLISHED", "PublishedConstants", "gradient_kernels", "separate_as_published"]

_LEVELS = 4096
"""Heights told apart when flooding."""
_EDGE_THRESHOLD = 0.57
"""Share of the field's range of gradients at which an edge begins."""
_MIN_HOLE_PX = 5
"""Smaller holes in the foreground are filled."""


@dataclass(frozen=True, slots=True)
class PublishedConstants:
    """What the published program sets by magnification."""

    min_area_px: int
    """Smaller cells vanish."""
    edge_px: int
    """Side of the square by which the edges' middle lines are widened before they are cut out of the seeds."""
    erosion_px: int
    """Radius of the disc that seeds are eroded with."""
    min_marker_px: int
    """Smaller markers vanish."""
    square_opening: bool
    """Whether the foreground is opened by a square of 3 px, or by a plus of 3 px."""


PUBLISHED = {
    20: PublishedConstants(24, 3, 1, 2, square_opening=False),
    40: PublishedConstants(80, 5, 2, 3, square_opening=True),
}
"""By magnification: 20 is 0.5 µm/px, 40 is 0.25."""


def gradient_kernels() -> tuple[NDArray[np.float64], ...]:
    """Four 5 × 5 derivative kernels: to the right, down, along the diagonal from the top left, from the bottom left."""
    reach = np.arange(-2, 3)
    right, down = np.meshgrid(reach, reach)
    square = np.maximum(right**2 + down**2, 1)  # the centre's share is 0 whatever it is divided by
    first = (right + down) / square
    return right / square, down / square, first, np.rot90(first).copy()


def _disc(radius_px: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return (rows**2 + columns**2 <= radius_px**2).astype(np.uint8)


def _edges(distance: NDArray[np.float32], inside: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) 1 where any distance rises much less than anywhere in the field."""
    edges = np.zeros(inside.shape, np.float32)
    for plane, kernel in zip(distance, gradient_kernels(), strict=True):
        # Stretching the map to 0..1 before the filter, as published, cancels in the stretch after it.
        rise = np.asarray(cv2.filter2D(plane, cv2.CV_32F, kernel.astype(np.float32)), np.float32)
        low, high, _, _ = cv2.minMaxLoc(rise)
        steepness = (rise - np.float32(low)) / np.float32(high - low) if high > low else np.zeros_like(rise)
        np.maximum(edges, 1 - steepness, out=edges)
    return ((edges >= _EDGE_THRESHOLD) & (inside > 0)).astype(np.uint8)


def _components(mask: NDArray[np.uint8], connectivity: int) -> tuple[NDArray[np.int32], int]:
    count, pieces = cv2.connectedComponents(mask, connectivity=connectivity, ltype=cv2.CV_32S)
    return np.asarray(pieces, np.int32), int(count)


@compiled
def _lost(pieces: NDArray[np.int32], eroded: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """(H, W) what is left of each piece after erosion, or the whole of it where nothing is."""
    survives = np.zeros(count, np.bool_)
    for row in range(pieces.shape[0]):
        for column in range(pieces.shape[1]):
            if eroded[row, column] > 0:
                survives[pieces[row, column]] = True
    kept = np.zeros(pieces.shape, np.uint8)
    for row in range(pieces.shape[0]):
        for column in range(pieces.shape[1]):
            piece = pieces[row, column]
            if piece > 0 and (eroded[row, column] > 0 or not survives[piece]):
                kept[row, column] = 1
    return kept


def _markers(
    semantic: NDArray[np.float32], edges: NDArray[np.uint8], constants: PublishedConstants
) -> NDArray[np.int32]:
    contour, body, background = semantic
    seeds = ((body > contour) & (body > background)).astype(np.uint8)
    wide = cv2.dilate(skeleton(edges), np.ones((constants.edge_px, constants.edge_px), np.uint8))
    seeds[(np.asarray(wide) > 0) & (edges > 0)] = 0
    pieces, count = _components(seeds, 4)
    drop_small(pieces, count, constants.min_area_px // 4)
    kept = (pieces > 0).astype(np.uint8)
    joined, count = _components(kept, 8)
    eroded = np.asarray(cv2.erode(kept, _disc(constants.erosion_px)), np.uint8)
    cores = _lost(joined, eroded, count)
    near, count = _components(np.asarray(cv2.dilate(cores, _disc(1)), np.uint8), 8)
    near *= cores
    drop_small(near, count, constants.min_marker_px)
    return _components((near > 0).astype(np.uint8), 8)[0]


def _mask(semantic: NDArray[np.float32], constants: PublishedConstants) -> NDArray[np.uint8]:
    contour, body, background = semantic
    # Beyond the field counts as background, so the opening takes corners off cells that the border cuts.
    mask = np.pad((contour + body > background).astype(np.uint8), 2)
    holes, count = _components(1 - mask, 8)
    area = np.bincount(holes.ravel(), minlength=count)
    mask |= (area[holes] < _MIN_HOLE_PX).astype(np.uint8)
    element = np.ones((3, 3), np.uint8) if constants.square_opening else _disc(1)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, element), np.uint8)[2:-2, 2:-2]


def separate_as_published(
    semantic: NDArray[np.float32],
    distance: NDArray[np.float32],
    constants: PublishedConstants,
    *,
    min_area_px: int | None = None,
) -> NDArray[np.int32]:
    """Cells of one field as the published program finds them.

    Args:
        semantic: (3, H, W) probabilities of contour, body and background.
        distance: (4, H, W) to the right, down, from the top left and from the bottom left.
        constants: By magnification.
        min_area_px: Smaller cells vanish; `constants` say it where None. Published are 26 for CoNIC and 50 for PanNuke.

    Returns:
        (H, W) int32 labels 1..N, solid one-piece instances.
    """
    distance = np.nan_to_num(distance, posinf=0.0, neginf=0.0)
    foreground = (semantic[0] + semantic[1] >= 0.5).astype(np.uint8)
    edges = _edges(distance, foreground)
    markers = _markers(semantic, edges, constants)
    open_floor = ((edges == 0) & (foreground > 0)).astype(np.float32)
    slope = 1 - np.asarray(cv2.GaussianBlur(open_floor, (3, 3), 0), np.float32)
    heights = 0.5 * (1 - np.nan_to_num(semantic[1])) + 0.5 * slope
    levels = (np.clip(heights, 0, 1) * (_LEVELS - 1)).astype(np.uint16)
    labels = flood(markers, levels, _mask(semantic, constants).astype(np.int32), diagonal=True)
    drop_small(labels, int(labels.max(initial=0)) + 1, min_area_px or constants.min_area_px)
    return clean_instances(labels)
