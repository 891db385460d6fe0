"""Nuclei read back from hover maps (compiled): a local way of our own, and the published one.

Inside a nucleus the distances rise slowly from -1 to 1; where two nuclei touch they drop from 1 to -1 within a few
pixels. `separate` looks for those drops and for nothing else: it differentiates between neighbours that are both
nuclear, so the step at a nucleus' own rim does not count, thin nuclei keep their markers, and no value of one nucleus
depends on another elsewhere in the field. `separate_as_published` follows HoVer-Net and CellViT step by step.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.labels import fill_instances

__all__ = ["flood", "foreground", "seam_drop_map", "separate", "separate_as_published"]

_LEVELS = 1024
"""Heights told apart when flooding: finer than the maps are good for, and few enough for a bucket each."""
_DROP_MAX = 1.0
"""A full seam, 1 to -1 over two pixels; steeper drops flood last all alike."""


def foreground(nucleus: NDArray[np.float32], threshold: float, min_area_px: int) -> NDArray[np.int32]:
    """(H, W) the 4-connected pieces of nucleus >= threshold, numbered from 1, without those below `min_area_px`.

    Pixels that are not a number are background. Numbers may be missing.
    """
    mask = (nucleus >= threshold).astype(np.uint8)
    return _without_small(mask, min_area_px)


def _without_small(mask: NDArray[np.uint8], min_area_px: int) -> NDArray[np.int32]:
    count, pieces = cv2.connectedComponents(mask, connectivity=4, ltype=cv2.CV_32S)
    kept = np.asarray(pieces, np.int32)
    _drop_small(kept, count, min_area_px)
    return kept


@compiled
def _drop_small(pieces: NDArray[np.int32], count: int, min_area: int) -> None:
    area = np.zeros(count, np.int64)
    flat = pieces.ravel()
    for i in range(len(flat)):
        area[flat[i]] += 1
    for i in range(len(flat)):
        if flat[i] != 0 and area[flat[i]] < min_area:
            flat[i] = 0


@compiled
def _look_up(labels: NDArray[np.int32], table: NDArray[np.int32]) -> NDArray[np.int32]:
    out = np.zeros_like(labels)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            if labels[row, column] > 0:
                out[row, column] = table[labels[row, column]]
    return out


@compiled
def _steps(hover: NDArray[np.float32], inside: NDArray[np.int32]) -> NDArray[np.float32]:
    """(4, H, W) of each pixel: sum and number of steps of x-distance along rows, then of y-distance along columns.

    A step counts, for both its pixels, where both are nuclear and both values are numbers.
    """
    height, width = inside.shape
    steps = np.zeros((4, height, width), np.float32)
    for row in range(height):
        for column in range(width):
            if inside[row, column] == 0:
                continue
            if column + 1 < width and inside[row, column + 1] != 0:
                step = hover[0, row, column + 1] - hover[0, row, column]
                if np.isfinite(step):
                    steps[0, row, column] += step
                    steps[0, row, column + 1] += step
                    steps[1, row, column] += np.float32(1)
                    steps[1, row, column + 1] += np.float32(1)
            if row + 1 < height and inside[row + 1, column] != 0:
                step = hover[1, row + 1, column] - hover[1, row, column]
                if np.isfinite(step):
                    steps[2, row, column] += step
                    steps[2, row + 1, column] += step
                    steps[3, row, column] += np.float32(1)
                    steps[3, row + 1, column] += np.float32(1)
    return steps


@compiled
def _add_scaled(out: NDArray[np.float32], weight: np.float32, values: NDArray[np.float32]) -> None:
    for i in range(len(out)):
        out[i] += weight * values[i]


@compiled
def _smooth(plane: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve along rows and columns, 0 beyond the field.

    Additions come in the same order for every pixel, so that a shift of the field changes no bit.
    """
    height, width = plane.shape
    reach = len(kernel) // 2
    rows = np.zeros_like(plane)
    for row in range(height):
        for k in range(len(kernel)):
            shift = k - reach
            low, high = max(0, -shift), min(width, width - shift)
            if low < high:
                _add_scaled(rows[row, low:high], kernel[k], plane[row, low + shift : high + shift])
    out = np.zeros_like(plane)
    for row in range(height):
        for source in range(max(0, row - reach), min(height, row + reach + 1)):
            _add_scaled(out[row], kernel[source - row + reach], rows[source])
    return out


@compiled
def _drops(
    across: NDArray[np.float32],
    pairs_across: NDArray[np.float32],
    down: NDArray[np.float32],
    pairs_down: NDArray[np.float32],
    inside: NDArray[np.int32],
) -> NDArray[np.float32]:
    drops = np.zeros(inside.shape, np.float32)
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if inside[row, column] == 0:
                continue
            x, y = np.float32(0), np.float32(0)
            if pairs_across[row, column] > 0:
                x = across[row, column] / pairs_across[row, column]
            if pairs_down[row, column] > 0:
                y = down[row, column] / pairs_down[row, column]
            # A diagonal seam shows half in either direction; together they tell it as clearly as a straight one.
            drops[row, column] = max(np.float32(0), -min(x, y, (x + y) * np.float32(0.70710678)))
    return drops


def _gaussian(sigma_px: float) -> NDArray[np.float32]:
    reach = max(1, int(3.0 * sigma_px + 0.5))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


def seam_drop_map(hover: NDArray[np.float32], inside: NDArray[np.int32], sigma_px: float) -> NDArray[np.float32]:
    """(H, W) how steeply the distances fall, per pixel, where they should rise; 0 where they rise and in background.

    Args:
        hover: (2, H, W) distance to the centre, x then y.
        inside: (H, W) non-zero in nuclei.
        sigma_px: Width of the Gaussian over which steps between nuclear neighbours are averaged.
    """
    kernel = _gaussian(sigma_px)
    across, pairs_across, down, pairs_down = (_smooth(plane, kernel) for plane in _steps(hover, inside))
    return _drops(across, pairs_across, down, pairs_down, inside)


@compiled
def _levels(drops: NDArray[np.float32], inside: NDArray[np.int32], threshold: float, top: int) -> NDArray[np.uint16]:
    """0 up to the threshold, then even steps up to `top` at the steepest drop."""
    levels = np.zeros(inside.shape, np.uint16)
    scale = np.float32((top - 1) / max(1e-6, _DROP_MAX - threshold))
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if inside[row, column] > 0 and drops[row, column] > threshold:
                step = int((drops[row, column] - np.float32(threshold)) * scale)
                levels[row, column] = 1 + min(top - 1, step)
    return levels


@compiled
def _adopt_unmarked(markers: NDArray[np.int32], pieces: NDArray[np.int32], used: int) -> None:
    """Make every piece of foreground without a marker one marker: it is a nucleus, however small or steep."""
    marked = np.zeros(pieces.max() + 1, np.bool_)
    for row in range(pieces.shape[0]):
        for column in range(pieces.shape[1]):
            if markers[row, column] > 0:
                marked[pieces[row, column]] = True
    for row in range(pieces.shape[0]):
        for column in range(pieces.shape[1]):
            piece = pieces[row, column]
            if piece > 0 and not marked[piece]:
                markers[row, column] = used + piece


@compiled
def _push(
    first: NDArray[np.int32], last: NDArray[np.int32], follower: NDArray[np.int32], level: int, pixel: int
) -> None:
    follower[pixel] = -1
    if first[level] < 0:
        first[level] = pixel
    else:
        follower[last[level]] = pixel
    last[level] = pixel


@compiled
def _framed(
    markers: NDArray[np.int32], levels: NDArray[np.uint16], inside: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """Markers and levels, flat, with a frame of one pixel: -1 where nothing may grow, 0 where something may."""
    height, width = markers.shape
    labels = np.full((height + 2, width + 2), -1, np.int32)
    heights = np.zeros((height + 2, width + 2), np.uint16)
    for row in range(height):
        for column in range(width):
            if inside[row, column] != 0:
                labels[row + 1, column + 1] = markers[row, column]
                heights[row + 1, column + 1] = levels[row, column]
    return labels.ravel(), heights.ravel()


@compiled
def _flood(labels: NDArray[np.int32], levels: NDArray[np.uint16], width: int) -> None:
    count = int(levels.max()) + 1
    first = np.full(count, -1, np.int32)
    last = np.full(count, -1, np.int32)
    follower = np.empty(len(labels), np.int32)
    for pixel in range(width, len(labels) - width):
        if labels[pixel] > 0:
            across = labels[pixel - 1] == 0 or labels[pixel + 1] == 0
            if across or labels[pixel - width] == 0 or labels[pixel + width] == 0:
                _push(first, last, follower, levels[pixel], pixel)
    around = (-width, width, -1, 1)
    level = 0
    while level < count:
        pixel = first[level]
        if pixel < 0:
            level += 1
            continue
        first[level] = follower[pixel]
        for step in around:
            neighbour = pixel + step
            if labels[neighbour] == 0:
                labels[neighbour] = labels[pixel]
                _push(first, last, follower, max(level, levels[neighbour]), neighbour)


def flood(markers: NDArray[np.int32], levels: NDArray[np.uint16], inside: NDArray[np.int32]) -> NDArray[np.int32]:
    """Marker-controlled watershed: grow markers through 4-neighbours, lowest level first, first come first served.

    Meyer's algorithm with one queue per level, so it is linear in the number of pixels. Equal pixels are taken in the
    order row by row, which does not depend on where the field begins.

    Args:
        markers: (H, W) 0 or the id to grow.
        levels: (H, W) height, 0..65535.
        inside: (H, W) non-zero where labels may go.

    Returns:
        (H, W) int32 ids; 0 outside and where no marker leads.
    """
    height, width = markers.shape
    labels, heights = _framed(markers, levels, inside)
    _flood(labels, heights, width + 2)
    return np.maximum(labels.reshape(height + 2, width + 2)[1:-1, 1:-1], 0)


def separate(
    nucleus: NDArray[np.float32],
    hover: NDArray[np.float32],
    *,
    nucleus_threshold: float,
    seam_drop: float,
    smoothing_px: float,
    min_area_px: int,
) -> NDArray[np.int32]:
    """Nuclei of one field, each decided by the maps around it alone.

    Markers are the connected parts of the foreground where the distances do not fall by more than `seam_drop` per
    pixel; what lies between is shared out by watershed on the drop.

    Args:
        nucleus: (H, W) probability of lying in a nucleus.
        hover: (2, H, W) distance to the centre, x then y.
        nucleus_threshold: Foreground is this probability and more.
        seam_drop: Fall of the distance per px that is a seam.
        smoothing_px: Gaussian sigma over which the fall is averaged, px.
        min_area_px: Smaller pieces of foreground vanish, smaller markers join their neighbours.

    Returns:
        (H, W) int32 labels 1..N, solid one-piece instances.
    """
    pieces = foreground(nucleus, nucleus_threshold, min_area_px)
    drops = seam_drop_map(hover, pieces, smoothing_px)
    levels = _levels(drops, pieces, seam_drop, _LEVELS - 1)
    markers = _without_small(((levels == 0) & (pieces > 0)).astype(np.uint8), min_area_px)
    _adopt_unmarked(markers, pieces, int(markers.max(initial=0)))
    return fill_instances(flood(markers, levels, pieces))


def _stretch_terms(plane: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """Offset and factor that bring the plane's own range to 0..1; factor 0 for a flat plane."""
    low, high, _, _ = cv2.minMaxLoc(plane)
    return np.float32(low), np.float32(1.0 / (high - low) if high > low else 0.0)


@compiled
def _edge_map(
    across: NDArray[np.float32],
    across_terms: tuple[np.float32, np.float32],
    down: NDArray[np.float32],
    down_terms: tuple[np.float32, np.float32],
    inside: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Inverse gradient, each direction stretched to 0..1 over the field, the larger of the two; 1 in background."""
    edges = np.ones(inside.shape, np.float32)
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if inside[row, column] != 0:
                x = (across[row, column] - across_terms[0]) * across_terms[1]
                y = (down[row, column] - down_terms[0]) * down_terms[1]
                edges[row, column] = np.float32(1) - min(x, y)
    return edges


def _fill_mask_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Set what no path along rows and columns joins to the field's edge."""
    _, pieces = cv2.connectedComponents(1 - mask, connectivity=4, ltype=cv2.CV_32S)
    table = np.ones(int(pieces.max()) + 1, np.int32)
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        table[edge] = 0
    return np.asarray(mask | _look_up(np.asarray(pieces, np.int32), table).astype(np.uint8), np.uint8)


def separate_as_published(
    nucleus: NDArray[np.float32],
    hover: NDArray[np.float32],
    *,
    nucleus_threshold: float,
    edge_threshold: float,
    sobel_px: int,
    min_area_px: int,
) -> NDArray[np.int32]:
    """Nuclei as the published programs find them (HoVer-Net §3.3; CellViT post-processing).

    Its min-max scaling spans the field, so a nucleus depends on what else the field holds; its 5 × 5 opening loses
    small and thin nuclei. For comparison and for thresholds tuned on it.

    Args:
        nucleus: (H, W) probability of lying in a nucleus.
        hover: (2, H, W) distance to the centre, x then y.
        nucleus_threshold: Foreground is this probability and more.
        edge_threshold: Share of the field's own range of gradients from which a pixel is an edge.
        sobel_px: Size of the Sobel kernel, odd.
        min_area_px: Smaller pieces of foreground and smaller markers vanish.

    Returns:
        (H, W) int32 labels 1..N, solid one-piece instances.
    """
    pieces = foreground(nucleus, nucleus_threshold, min_area_px)
    if not pieces.any():
        return pieces
    if not np.isfinite(hover).all():
        hover = np.nan_to_num(hover, posinf=0.0, neginf=0.0)
    derive, smooth = cv2.getDerivKernels(1, 0, sobel_px, normalize=True, ktype=cv2.CV_32F)
    # Stretching a map to 0..1 before a linear filter, as published, cancels in the stretch after it.
    across = np.asarray(cv2.sepFilter2D(hover[0], cv2.CV_32F, derive, smooth), np.float32)
    down = np.asarray(cv2.sepFilter2D(hover[1], cv2.CV_32F, smooth, derive), np.float32)
    edges = _edge_map(across, _stretch_terms(across), down, _stretch_terms(down), pieces)
    mask = (edges < edge_threshold).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    opened = np.asarray(cv2.morphologyEx(_fill_mask_holes(mask), cv2.MORPH_OPEN, disc), np.uint8)
    markers = _without_small(opened, min_area_px)
    heights = cv2.GaussianBlur(edges, (3, 3), 0)
    levels = (heights * np.float32(4 * _LEVELS - 1)).astype(np.uint16)
    return fill_instances(flood(markers, levels, pieces))
