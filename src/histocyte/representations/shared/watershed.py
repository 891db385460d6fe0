"""Masks, markers and floods: what reading nuclei back from maps is made of, whatever the maps (compiled)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = ["adopt_unmarked", "drop_small", "fill_mask_holes", "flood", "foreground", "without_small"]


def foreground(nucleus: NDArray[np.float32], threshold: float, min_area_px: int) -> NDArray[np.int32]:
    """(H, W) the 4-connected pieces of nucleus >= threshold, numbered from 1, without those below `min_area_px`.

    Pixels that are not a number are background. Numbers may be missing.
    """
    mask = (nucleus >= threshold).astype(np.uint8)
    return without_small(mask, min_area_px)


def without_small(mask: NDArray[np.uint8], min_area_px: int) -> NDArray[np.int32]:
    """(H, W) the 4-connected pieces of a mask of 0 and 1, as `foreground` gives them."""
    count, pieces = cv2.connectedComponents(mask, connectivity=4, ltype=cv2.CV_32S)
    kept = np.asarray(pieces, np.int32)
    drop_small(kept, count, min_area_px)
    return kept


@compiled
def drop_small(pieces: NDArray[np.int32], count: int, min_area: int) -> None:
    """Set to 0, in place, every id below `count` that has fewer pixels than `min_area`."""
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
def _adopt(markers: NDArray[np.int32], pieces: NDArray[np.int32], used: int) -> None:
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
def _flood(labels: NDArray[np.int32], levels: NDArray[np.uint16], width: int, around: tuple[int, ...]) -> None:
    count = int(levels.max()) + 1
    first = np.full(count, -1, np.int32)
    last = np.full(count, -1, np.int32)
    follower = np.empty(len(labels), np.int32)
    for pixel in range(width, len(labels) - width):
        if labels[pixel] > 0:
            for step in around:
                if labels[pixel + step] == 0:
                    _push(first, last, follower, levels[pixel], pixel)
                    break
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


def adopt_unmarked(markers: NDArray[np.int32], pieces: NDArray[np.int32]) -> None:
    """Make every piece of foreground without a marker one marker: it is a nucleus, however small or steep.

    Args:
        markers: (H, W) 0 or a marker's id; new ids are written into it.
        pieces: (H, W) 0 or the number of a piece.
    """
    _adopt(markers, pieces, int(markers.max(initial=0)))


def flood(
    markers: NDArray[np.int32], levels: NDArray[np.uint16], inside: NDArray[np.int32], *, diagonal: bool = False
) -> NDArray[np.int32]:
    """Marker-controlled watershed: grow markers through 4-neighbours, lowest level first, first come first served.

    Meyer's algorithm with one queue per level, so it is linear in the number of pixels. Equal pixels are taken in the
    order row by row, which does not depend on where the field begins.

    Args:
        markers: (H, W) 0 or the id to grow.
        levels: (H, W) height, 0..65535.
        inside: (H, W) non-zero where labels may go.
        diagonal: Grow through all 8 neighbours; a grown region then need not be in one 4-connected piece.

    Returns:
        (H, W) int32 ids; 0 outside and where no marker leads.
    """
    height, width = markers.shape
    labels, heights = _framed(markers, levels, inside)
    side = width + 2
    around: tuple[int, ...] = (-side, side, -1, 1)
    if diagonal:
        around += (-side - 1, -side + 1, side - 1, side + 1)
    _flood(labels, heights, side, around)
    return np.maximum(labels.reshape(height + 2, width + 2)[1:-1, 1:-1], 0)


def fill_mask_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Set what no path along rows and columns joins to the field's edge."""
    _, pieces = cv2.connectedComponents(1 - mask, connectivity=4, ltype=cv2.CV_32S)
    table = np.ones(int(pieces.max()) + 1, np.int32)
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        table[edge] = 0
    return np.asarray(mask | _look_up(np.asarray(pieces, np.int32), table).astype(np.uint8), np.uint8)
