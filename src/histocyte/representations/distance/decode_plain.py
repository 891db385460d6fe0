"""The two ways to read CISCA's maps in numpy and SciPy: slow, short, and what the compiled ones must agree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histocyte.core.labels import clean_instances_plain
from histocyte.representations.distance.decode_published import PublishedConstants, gradient_kernels
from histocyte.representations.hover.decode_plain import flood_plain
from histocyte.representations.shared.thinning import skeleton_plain

__all__ = ["distance_drop_map_plain", "separate_as_published_plain", "separate_plain"]

_EIGHT = np.ones((3, 3), bool)


def _without_small(
    mask: NDArray[np.bool_], min_area_px: int, structure: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    pieces, _ = ndimage.label(mask, structure)
    kept = np.bincount(pieces.ravel()) >= min_area_px
    return np.where(kept[pieces], pieces, 0).astype(np.int32)


def distance_drop_map_plain(
    distance: NDArray[np.floating], inside: NDArray[np.bool_], sigma_px: float
) -> NDArray[np.float64]:
    """(H, W) how steeply the distances fall per pixel where they should rise (see `distance_decode`)."""
    drops = np.zeros(inside.shape)
    for plane, (down, right) in zip(distance.astype(np.float64), ((0, 1), (1, 0), (1, 1), (-1, 1)), strict=True):
        total, pairs = np.zeros(inside.shape), np.zeros(inside.shape)
        for row, column in np.argwhere(inside):
            r, c = row + down, column + right
            if 0 <= r < inside.shape[0] and c < inside.shape[1] and inside[r, c]:
                step = plane[r, c] - plane[row, column]
                if np.isfinite(step):
                    for pixel in ((row, column), (r, c)):
                        total[pixel] += step
                        pairs[pixel] += 1
        reach = max(1, int(3.0 * sigma_px + 0.5))
        total, pairs = (
            ndimage.gaussian_filter(plane, sigma_px, radius=reach, mode="constant") for plane in (total, pairs)
        )
        mean = np.divide(total, pairs * np.hypot(down, right), out=np.zeros_like(total), where=pairs > 0)
        drops = np.maximum(drops, -mean)
    return np.where(inside, drops, 0.0)


def separate_plain(
    semantic: NDArray[np.float32],
    distance: NDArray[np.float32],
    *,
    cell_threshold: float,
    seam_drop: float,
    smoothing_px: float,
    contour_weight: float,
    min_area_px: int,
) -> NDArray[np.int32]:
    """The same as `distance_decode.separate`, where the arguments are explained."""
    pieces = _without_small(semantic[0] + semantic[1] >= cell_threshold, min_area_px)
    inside = pieces > 0
    drops = distance_drop_map_plain(distance, inside, smoothing_px)
    seams = drops + contour_weight * np.maximum(np.nan_to_num(semantic[0] - semantic[1]), 0)
    markers = _without_small(inside & (seams <= seam_drop), min_area_px)
    for candidates in (_without_small(inside & (drops <= seam_drop), min_area_px), pieces):
        unmarked = (candidates > 0) & ~np.isin(candidates, candidates[markers > 0])
        markers = np.where(unmarked, markers.max(initial=0) + candidates, markers).astype(np.int32)
    return clean_instances_plain(flood_plain(markers, np.maximum(seams, seam_drop), inside))


def _stretched(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    low, high = plane.min(), plane.max()
    return (plane - low) / (high - low) if high > low else np.zeros(plane.shape)


def _disc(radius_px: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return rows**2 + columns**2 <= radius_px**2


def _markers(seeds: NDArray[np.bool_], edges: NDArray[np.bool_], constants: PublishedConstants) -> NDArray[np.int32]:
    wide = ndimage.binary_dilation(
        skeleton_plain(edges.astype(np.uint8)) > 0, np.ones((constants.edge_px, constants.edge_px))
    )
    kept = _without_small(seeds & ~(wide & edges), constants.min_area_px // 4) > 0
    eroded = ndimage.binary_erosion(kept, _disc(constants.erosion_px), border_value=1)
    joined, _ = ndimage.label(kept, _EIGHT)
    cores = eroded | (kept & ~np.isin(joined, joined[eroded]))
    near, _ = ndimage.label(ndimage.binary_dilation(cores, _disc(1)), _EIGHT)
    near = np.where(cores, near, 0)
    large = np.bincount(near.ravel()) >= constants.min_marker_px
    return np.asarray(ndimage.label((near > 0) & large[near], _EIGHT)[0], np.int32)


def separate_as_published_plain(
    semantic: NDArray[np.float32],
    distance: NDArray[np.float32],
    constants: PublishedConstants,
    *,
    min_area_px: int | None = None,
) -> NDArray[np.int32]:
    """The same as `distance_decode_published.separate_as_published`, where the arguments are explained."""
    contour, body, background = semantic.astype(np.float64)
    inside = contour + body >= 0.5
    distance = np.nan_to_num(distance.astype(np.float64), posinf=0.0, neginf=0.0)
    steepness = [
        _stretched(ndimage.correlate(_stretched(plane), kernel, mode="mirror"))
        for plane, kernel in zip(distance, gradient_kernels(), strict=True)
    ]
    edges = np.clip((1 - np.min(steepness, axis=0)) - ~inside, 0, None) >= 0.57
    markers = _markers((body > contour) & (body > background), edges, constants)
    blur = np.outer([1, 2, 1], [1, 2, 1]) / 16
    slope = 1 - ndimage.correlate((~edges & inside).astype(np.float64), blur, mode="mirror")
    mask = np.pad(contour + body > background, 2)
    holes = _without_small(~mask, 5, _EIGHT) > 0
    opened = ndimage.binary_opening(~holes, _EIGHT if constants.square_opening else _disc(1))[2:-2, 2:-2]
    labels = flood_plain(markers, 0.5 * (1 - np.nan_to_num(body)) + 0.5 * slope, opened, diagonal=True)
    areas = np.bincount(labels.ravel())
    return clean_instances_plain(np.where((areas >= (min_area_px or constants.min_area_px))[labels], labels, 0))
