"""The two ways of `hover_decode` in numpy and SciPy: slow, short, and what the compiled ones must agree with."""

from __future__ import annotations

import heapq

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histocyte.core.labels import clean_instances_plain

__all__ = ["flood_plain", "seam_drop_map_plain", "separate_as_published_plain", "separate_plain"]


def _without_small(mask: NDArray[np.bool_], min_area_px: int) -> NDArray[np.int32]:
    pieces, _ = ndimage.label(mask)
    kept = np.bincount(pieces.ravel()) >= min_area_px
    return np.where(kept[pieces], pieces, 0).astype(np.int32)


def flood_plain(
    markers: NDArray[np.int32],
    heights: NDArray[np.integer | np.floating],
    inside: NDArray[np.bool_],
    *,
    diagonal: bool = False,
) -> NDArray[np.int32]:
    """Marker-controlled watershed through 4 (or 8) neighbours with one heap: lowest first, of equals the earliest."""
    around = [(-1, 0), (1, 0), (0, -1), (0, 1), *([(-1, -1), (-1, 1), (1, -1), (1, 1)] if diagonal else [])]
    labels = np.where(inside, markers, 0).astype(np.int32)
    heap: list[tuple[float, int, int, int]] = []
    for row, column in np.argwhere(labels > 0):
        heap.append((heights[row, column], len(heap), int(row), int(column)))
    heapq.heapify(heap)
    arrivals = len(heap)
    while heap:
        height, _, row, column = heapq.heappop(heap)
        for r, c in ((row + down, column + right) for down, right in around):
            on_field = 0 <= r < labels.shape[0] and 0 <= c < labels.shape[1]
            if on_field and inside[r, c] and labels[r, c] == 0:
                labels[r, c] = labels[row, column]
                arrivals += 1
                heapq.heappush(heap, (max(height, heights[r, c]), arrivals, r, c))
    return labels


def _mean_step(
    distance: NDArray[np.float64], inside: NDArray[np.bool_], axis: int, sigma_px: float
) -> NDArray[np.float64]:
    """Gaussian mean along both axes of the steps between nuclear neighbours along `axis`."""
    later, earlier = [slice(None), slice(None)], [slice(None), slice(None)]
    later[axis], earlier[axis] = slice(1, None), slice(None, -1)
    step = distance[tuple(later)] - distance[tuple(earlier)]
    counts = inside[tuple(later)] & inside[tuple(earlier)] & np.isfinite(step)
    total, pairs = np.zeros(inside.shape), np.zeros(inside.shape)
    for side in (tuple(later), tuple(earlier)):
        total[side] += np.where(counts, step, 0.0)
        pairs[side] += counts
    reach = max(1, int(3.0 * sigma_px + 0.5))
    total, pairs = (ndimage.gaussian_filter(plane, sigma_px, radius=reach, mode="constant") for plane in (total, pairs))
    return np.divide(total, pairs, out=np.zeros_like(total), where=pairs > 0)


def seam_drop_map_plain(hover: NDArray[np.floating], inside: NDArray[np.bool_], sigma_px: float) -> NDArray[np.float64]:
    """(H, W) how steeply the distances fall per pixel where they should rise (see `hover_decode.seam_drop_map`)."""
    x = _mean_step(hover[0].astype(np.float64), inside, 1, sigma_px)
    y = _mean_step(hover[1].astype(np.float64), inside, 0, sigma_px)
    drop = -np.minimum(np.minimum(x, y), (x + y) / np.sqrt(2.0))
    return np.where(inside, np.maximum(drop, 0.0), 0.0)


def separate_plain(
    nucleus: NDArray[np.float32],
    hover: NDArray[np.float32],
    *,
    nucleus_threshold: float,
    seam_drop: float,
    smoothing_px: float,
    min_area_px: int,
) -> NDArray[np.int32]:
    """The same as `hover_decode.separate`, where the arguments are explained."""
    pieces = _without_small(nucleus >= nucleus_threshold, min_area_px)
    inside = pieces > 0
    drops = seam_drop_map_plain(hover, inside, smoothing_px)
    markers = _without_small(inside & (drops <= seam_drop), min_area_px)
    unmarked = inside & ~np.isin(pieces, pieces[markers > 0])
    markers = np.where(unmarked, markers.max(initial=0) + pieces, markers).astype(np.int32)
    return clean_instances_plain(flood_plain(markers, np.maximum(drops, seam_drop), inside))


def _stretched(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    low, high = plane.min(), plane.max()
    return (plane - low) / (high - low) if high > low else np.zeros(plane.shape)


def separate_as_published_plain(
    nucleus: NDArray[np.float32],
    hover: NDArray[np.float32],
    *,
    nucleus_threshold: float,
    edge_threshold: float,
    sobel_px: int,
    min_area_px: int,
) -> NDArray[np.int32]:
    """The same as `hover_decode.separate_as_published`, where the arguments are explained."""
    inside = _without_small(nucleus >= nucleus_threshold, min_area_px) > 0
    across = cv2.Sobel(_stretched(hover[0]), cv2.CV_64F, 1, 0, ksize=sobel_px)
    down = cv2.Sobel(_stretched(hover[1]), cv2.CV_64F, 0, 1, ksize=sobel_px)
    edges = np.maximum(1 - _stretched(np.asarray(across)), 1 - _stretched(np.asarray(down))) * inside
    heights = -np.asarray(cv2.GaussianBlur((1 - edges) * inside, (3, 3), 0))
    mask = ndimage.binary_fill_holes(inside & (edges < edge_threshold)).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    markers = _without_small(np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc)) > 0, min_area_px)
    return clean_instances_plain(flood_plain(markers, heights, inside))
