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
from histocyte.representations.shared.seams import LEVELS, gaussian, seam_drop_map, seam_levels
from histocyte.representations.shared.strips import strips
from histocyte.representations.shared.watershed import adopt_unmarked, fill_mask_holes, flood, foreground, without_small

__all__ = ["separate", "separate_as_published"]


def separate(
    nucleus: NDArray[np.floating],
    hover: NDArray[np.floating],
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
        nucleus: (H, W) probability of lying in a nucleus, float32 or float16.
        hover: (2, H, W) distance to the centre, x then y, float32 or float16.
        nucleus_threshold: Foreground is this probability and more.
        seam_drop: Fall of the distance per px that is a seam.
        smoothing_px: Gaussian sigma over which the fall is averaged, px.
        min_area_px: Smaller pieces of foreground vanish, smaller markers join their neighbours.

    Returns:
        (H, W) int32 labels 1..N, solid one-piece instances.
    """
    pieces = foreground(nucleus, nucleus_threshold, min_area_px)
    levels = _seam_levels(hover, pieces, smoothing_px, seam_drop)
    markers = without_small(((levels == 0) & (pieces > 0)).astype(np.uint8), min_area_px)
    adopt_unmarked(markers, pieces)
    nuclei = flood(markers, levels, pieces)
    del markers, levels, pieces  # each is as large as the result; a block's memory peaks here
    return fill_instances(nuclei)


def _seam_levels(
    hover: NDArray[np.floating], inside: NDArray[np.int32], sigma_px: float, threshold: float
) -> NDArray[np.uint16]:
    """`seam_levels` of the `seam_drop_map`, to the bit, without ever holding its nine planes of the whole field."""
    levels = np.empty(inside.shape, np.uint16)
    for strip in strips(len(inside), halo=len(gaussian(sigma_px)) // 2 + 1):  # reach of the mean, and of a step
        near = inside[strip.around]
        drops = seam_drop_map(np.ascontiguousarray(hover[:, strip.around], np.float32), near, sigma_px)
        levels[strip.rows] = seam_levels(drops[strip.inner], near[strip.inner], threshold)
    return levels


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


def separate_as_published(
    nucleus: NDArray[np.floating],
    hover: NDArray[np.floating],
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
        nucleus: (H, W) probability of lying in a nucleus, float32 or float16.
        hover: (2, H, W) distance to the centre, x then y, float32 or float16.
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
    hover = np.asarray(hover, np.float32)
    if not np.isfinite(hover).all():
        hover = np.nan_to_num(hover, posinf=0.0, neginf=0.0)
    derive, smooth = cv2.getDerivKernels(1, 0, sobel_px, normalize=True, ktype=cv2.CV_32F)
    # Stretching a map to 0..1 before a linear filter, as published, cancels in the stretch after it.
    across = np.asarray(cv2.sepFilter2D(hover[0], cv2.CV_32F, derive, smooth), np.float32)
    down = np.asarray(cv2.sepFilter2D(hover[1], cv2.CV_32F, smooth, derive), np.float32)
    edges = _edge_map(across, _stretch_terms(across), down, _stretch_terms(down), pieces)
    mask = (edges < edge_threshold).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    opened = np.asarray(cv2.morphologyEx(fill_mask_holes(mask), cv2.MORPH_OPEN, disc), np.uint8)
    markers = without_small(opened, min_area_px)
    heights = cv2.GaussianBlur(edges, (3, 3), 0)
    levels = (heights * np.float32(4 * LEVELS - 1)).astype(np.uint16)
    return fill_instances(flood(markers, levels, pieces))
