"""Cells read back from CISCA's maps, each decided by the maps around it alone (compiled).

Along each of four directions the distance rises from -1 to 1 across a cell and drops from 1 to -1 where the next one
begins. `separate` looks for those drops between neighbours that are both foreground, and for the contours that the
semantic map says; no value of a cell depends on another elsewhere in the field. The published way is in
`distance_decode_published`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.labels import fill_instances
from histocyte.representations.shared.seams import gaussian, seam_levels, smooth
from histocyte.representations.shared.strips import strips
from histocyte.representations.shared.watershed import adopt_unmarked, flood, foreground, without_small

__all__ = ["cell_probability", "distance_drop_map", "separate"]


@compiled
def _steps(
    plane: NDArray[np.float32], inside: NDArray[np.int32], down: int, right: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel: sum and number of the distance's steps to and from its neighbours in a direction.

    A step counts, for both its pixels, where both are foreground and both values are numbers.
    """
    height, width = inside.shape
    total = np.zeros((height, width), np.float32)
    pairs = np.zeros((height, width), np.float32)
    for row in range(max(0, -down), height - max(0, down)):
        for column in range(width - right):
            r, c = row + down, column + right
            if inside[row, column] != 0 and inside[r, c] != 0:
                step = plane[r, c] - plane[row, column]
                if np.isfinite(step):
                    total[row, column] += step
                    total[r, c] += step
                    pairs[row, column] += np.float32(1)
                    pairs[r, c] += np.float32(1)
    return total, pairs


@compiled
def _deepen(drops: NDArray[np.float32], total: NDArray[np.float32], pairs: NDArray[np.float32], px: float) -> None:
    """Let the mean fall along one direction count where it is the steepest yet; `px` is the length of a step."""
    for row in range(drops.shape[0]):
        for column in range(drops.shape[1]):
            if pairs[row, column] > 0:
                drop = -total[row, column] / (pairs[row, column] * np.float32(px))
                drops[row, column] = max(drops[row, column], drop)


@compiled
def _inside_only(drops: NDArray[np.float32], inside: NDArray[np.int32]) -> None:
    for row in range(drops.shape[0]):
        for column in range(drops.shape[1]):
            if inside[row, column] == 0:
                drops[row, column] = 0


def distance_drop_map(distance: NDArray[np.float32], inside: NDArray[np.int32], sigma_px: float) -> NDArray[np.float32]:
    """(H, W) how steeply the distances fall, per pixel, where they should rise; 0 where they rise and in background.

    Args:
        distance: (4, H, W) to the right, down, from the top left and from the bottom left.
        inside: (H, W) non-zero in cells.
        sigma_px: Width of the Gaussian over which steps between neighbours in cells are averaged.
    """
    kernel = gaussian(sigma_px)
    drops = np.zeros(inside.shape, np.float32)
    for plane, (down, right) in zip(distance, ((0, 1), (1, 0), (1, 1), (-1, 1)), strict=True):
        total, pairs = (smooth(sums, kernel) for sums in _steps(plane, inside, down, right))
        _deepen(drops, total, pairs, float(np.hypot(down, right)))
    _inside_only(drops, inside)
    return drops


@compiled
def _with_contours(
    drops: NDArray[np.float32], contour: NDArray[np.float32], body: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    """Drops, raised where a contour is likelier than a cell's body."""
    seams = drops.copy()
    for row in range(drops.shape[0]):
        for column in range(drops.shape[1]):
            excess = contour[row, column] - body[row, column]
            if excess > 0:
                seams[row, column] += np.float32(weight) * excess
    return seams


def separate(
    semantic: NDArray[np.floating],
    distance: NDArray[np.floating],
    *,
    cell_threshold: float,
    seam_drop: float,
    smoothing_px: float,
    contour_weight: float,
    min_area_px: int,
) -> NDArray[np.int32]:
    """Cells of one field, each decided by the maps around it alone.

    Markers are the connected parts of the foreground without a seam: where no distance falls by more than `seam_drop`
    per pixel and no contour is likelier than the body. A part between drops that is contour all over, such as a thin
    cell beside another, is a marker too. What lies between is shared out by watershed on the seams.

    Args:
        semantic: (3, H, W) probabilities of contour, body and background, float32 or float16.
        distance: (4, H, W) to the right, down, from the top left and from the bottom left, float32 or float16.
        cell_threshold: Foreground is this probability, of contour and body together, and more.
        seam_drop: Fall of the distance per px that is a seam.
        smoothing_px: Gaussian sigma over which the fall is averaged, px.
        contour_weight: Fall per px that a certain contour counts as.
        min_area_px: Smaller pieces of foreground vanish, smaller markers join their neighbours.

    Returns:
        (H, W) int32 labels 1..N, solid one-piece instances.
    """
    pieces = foreground(cell_probability(semantic), cell_threshold, min_area_px)
    levels, calm = _seams(semantic, distance, pieces, smoothing_px, seam_drop, contour_weight)
    markers = without_small(((levels == 0) & (pieces > 0)).astype(np.uint8), min_area_px)
    adopt_unmarked(markers, without_small(calm, min_area_px))
    adopt_unmarked(markers, pieces)
    cells = flood(markers, levels, pieces)
    del markers, levels, calm, pieces  # each is as large as the result; a block's memory peaks here
    return fill_instances(cells)


def cell_probability(semantic: NDArray[np.floating]) -> NDArray[np.float32]:
    """(H, W) probability of contour and body together."""
    return np.add(semantic[0], semantic[1], dtype=np.float32)


def _seams(
    semantic: NDArray[np.floating],
    distance: NDArray[np.floating],
    inside: NDArray[np.int32],
    sigma_px: float,
    threshold: float,
    contour_weight: float,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Heights to flood by, and 1 where no distance falls, a strip at a time: float32 of all maps would be large."""
    levels, calm = np.empty(inside.shape, np.uint16), np.empty(inside.shape, np.uint8)
    for strip in strips(len(inside), halo=len(gaussian(sigma_px)) // 2 + 1):  # reach of the mean, and of a step
        near = inside[strip.around]
        drops = distance_drop_map(np.ascontiguousarray(distance[:, strip.around], np.float32), near, sigma_px)
        drops, near = drops[strip.inner], near[strip.inner]
        contour, body = np.ascontiguousarray(semantic[:2, strip.rows], np.float32)
        levels[strip.rows] = seam_levels(_with_contours(drops, contour, body, contour_weight), near, threshold)
        calm[strip.rows] = (drops <= threshold) & (near > 0)
    return levels, calm
