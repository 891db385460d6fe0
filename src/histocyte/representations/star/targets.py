"""StarDist's maps, written from labels (compiled): how deep a pixel lies in its nucleus, how far its rays reach."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = [
    "RAYS",
    "distance_probability",
    "distance_probability_plain",
    "ray_angles",
    "ray_distances",
    "ray_distances_plain",
    "split_pieces",
]

RAYS = 32
"""Rays of a star. As published: an outline of a nucleus, 60 px around, has one every other pixel."""


def ray_angles() -> NDArray[np.float64]:
    """(32,) angle of each ray, from the x axis towards the y axis (down)."""
    return np.arange(RAYS, dtype=np.float64) * (2 * np.pi / RAYS)


@compiled
def _split(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    height, width = labels.shape
    pieces = np.zeros((height, width), np.int32)
    stack = np.empty(labels.size, np.int64)
    used = 0
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label <= 0 or pieces[row, column] > 0:
                continue
            used += 1
            pieces[row, column] = used
            stack[0] = row * width + column
            depth = 1
            while depth > 0:
                depth -= 1
                y, x = divmod(stack[depth], width)
                for step in range(4):
                    r = y + (step == 0) - (step == 1)
                    c = x + (step == 2) - (step == 3)
                    if 0 <= r < height and 0 <= c < width and labels[r, c] == label and pieces[r, c] == 0:
                        pieces[r, c] = used
                        stack[depth] = r * width + c
                        depth += 1
    return pieces


def split_pieces(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """(H, W) the map with an id of its own, 1..N, for every 4-connected piece, such as those a crop leaves."""
    return np.asarray(_split(np.ascontiguousarray(labels, np.int32)), np.int32)


@compiled
def _squared_depth(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Squared distance to the nearest pixel of another label, inf where there is none, 0 in background."""
    height, width = labels.shape
    down = np.empty((height, width), np.float64)
    for column in range(width):
        far = np.inf
        for row in range(height):
            far = 1.0 if row > 0 and labels[row, column] != labels[row - 1, column] else far + 1.0
            down[row, column] = far
        far = np.inf
        for row in range(height - 1, -1, -1):
            far = 1.0 if row + 1 < height and labels[row, column] != labels[row + 1, column] else far + 1.0
            down[row, column] = min(down[row, column], far)
    depth = np.zeros((height, width), np.float64)
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label <= 0:
                continue
            best = down[row, column] ** 2
            for way in (-1, 1):
                x, step = column + way, 1
                # Beyond `best` no column can be nearer; a column of another label ends the search.
                while 0 <= x < width and step * step < best:
                    if labels[row, x] != label:
                        best = float(step * step)
                        break
                    best = min(best, step * step + down[row, x] ** 2)
                    x, step = x + way, step + 1
            depth[row, column] = best
    return depth


@compiled
def _share_of_deepest(depth: NDArray[np.float64], pieces: NDArray[np.int32]) -> NDArray[np.float32]:
    deepest = np.zeros(pieces.max() + 1, np.float64)
    for row in range(pieces.shape[0]):
        for column in range(pieces.shape[1]):
            piece = pieces[row, column]
            deepest[piece] = max(deepest[piece], depth[row, column])
    share = np.zeros(pieces.shape, np.float32)
    for row in range(pieces.shape[0]):
        for column in range(pieces.shape[1]):
            piece = pieces[row, column]
            if piece > 0:
                # A nucleus that fills the whole field is as deep everywhere as anywhere.
                whole = np.isinf(deepest[piece])
                share[row, column] = 1.0 if whole else np.sqrt(depth[row, column] / deepest[piece])
    return share


def distance_probability(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """(H, W) distance to the nearest pixel outside the nucleus, as a share of its deepest pixel's; 0 in background.

    StarDist's object probability in CellViT's normalisation: 1 in the middle of each nucleus, whatever its size. The
    field's border is no end of a nucleus. Pieces of one id (see `split_pieces`) count as nuclei of their own.

    Args:
        labels: (H, W) int32, 0 background.
    """
    pieces = split_pieces(labels)
    if not pieces.size:
        return np.zeros(pieces.shape, np.float32)
    return np.asarray(_share_of_deepest(_squared_depth(pieces), pieces), np.float32)


def distance_probability_plain(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """The same as `distance_probability`, piece by piece with SciPy: what the compiled version must agree with."""
    from scipy import ndimage

    share = np.zeros(labels.shape, np.float32)
    for label in np.unique(labels[labels > 0]):
        pieces, count = ndimage.label(labels == label)
        for number in range(1, count + 1):
            piece = pieces == number
            depth = np.ones(piece.shape) if piece.all() else ndimage.distance_transform_edt(piece)
            share[piece] = (depth / depth.max())[piece]
    return share


@lru_cache(maxsize=8)
def _published_steps(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """As `_steps`, of a ray in steps of one pixel's length that are added up in float32.

    It ends where, in the direction it mainly follows, it is half a step beyond its last pixel inside.
    """
    angles = ray_angles().astype(np.float32)
    sin, cos = np.sin(angles)[:, None], np.cos(angles)[:, None]
    y = np.cumsum(np.repeat(sin, length, axis=1), axis=1, dtype=np.float32)
    x = np.cumsum(np.repeat(cos, length, axis=1), axis=1, dtype=np.float32)
    back = np.float32(1) - np.float32(0.5) / np.maximum(np.abs(sin), np.abs(cos))
    reach = np.hypot(y - back * sin, x - back * cos).astype(np.float32)
    return np.rint(y).astype(np.int64), np.rint(x).astype(np.int64), reach


@lru_cache(maxsize=8)
def _steps(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each ray (32, steps): rows and columns from its start to the pixels it enters, and its length there."""
    reach = np.empty((RAYS, 2 * length), np.float32)
    rows, columns = np.empty((RAYS, 2 * length), np.int64), np.empty((RAYS, 2 * length), np.int64)
    edges = np.arange(length) + 0.5
    for ray, angle in enumerate(ray_angles()):
        way = np.array([np.sin(angle), np.cos(angle)]).round(12)  # along an axis it never crosses to the side
        with np.errstate(divide="ignore"):
            # Of two edges crossed at one corner the ray enters the pixel beyond both.
            at = np.sort((edges / np.abs(way[:, None])).round(6), axis=None)
        crossed = [np.searchsorted((edges / w).round(6) if w else [np.inf], at, side="right") for w in np.abs(way)]
        rows[ray], columns[ray] = (np.sign(w).astype(np.int64) * n for w, n in zip(way, crossed, strict=True))
        reach[ray] = at
    return rows, columns, reach


@compiled
def _march(
    framed: NDArray[np.int32], rows: NDArray[np.int64], columns: NDArray[np.int64], reach: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`framed` has a frame of one pixel of 0, over which no ray can step: each step is at most one pixel either way."""
    height, width = framed.shape[0] - 2, framed.shape[1] - 2
    flat = framed.ravel()
    rays = len(rows)
    offsets = rows * (width + 2) + columns
    distances = np.zeros((rays, height, width), np.float32)
    for ray in range(rays):
        offset, length = offsets[ray], reach[ray]
        for row in range(height):
            for column in range(width):
                start = (row + 1) * (width + 2) + column + 1
                label = flat[start]
                if label > 0:
                    step = 0
                    while flat[start + offset[step]] == label:
                        step += 1
                    distances[ray, row, column] = length[step]
    return distances


def ray_distances(labels: NDArray[np.int32], *, published: bool = False) -> NDArray[np.float32]:
    """(32, H, W) how far each ray from a nuclear pixel goes until it leaves the nucleus or the field; 0 in background.

    Ray k starts at the pixel's centre, at the angle of `ray_angles`, and ends at the edge of the first pixel outside
    (Schmidt et al. 2018, doi 10.1007/978-3-030-00934-2_30), px.

    Args:
        labels: (H, W) int32, 0 background; pieces of one id are nuclei of their own.
        published: As StarDist and CellViT measure it, in steps of one pixel's length and so up to half a pixel off.
    """
    framed = np.pad(split_pieces(labels), 1)
    length = math.isqrt(2 * max(framed.shape) ** 2) + 2
    rows, columns, reach = (_published_steps if published else _steps)(length)
    return np.asarray(_march(framed, rows, columns, reach), np.float32)


def ray_distances_plain(labels: NDArray[np.int32], *, published: bool = False) -> NDArray[np.float32]:
    """The same as `ray_distances`, all pixels of a ray a step at a time in numpy, to check it against."""
    framed = np.pad(split_pieces(labels), 1)
    start = np.argwhere(framed > 0)
    own = framed[tuple(start.T)]
    distances = np.zeros((RAYS, *labels.shape), np.float32)
    step, kind = (1.0, np.float32) if published else (1 / 64, np.float64)
    for ray, angle in enumerate(ray_angles()):
        way: NDArray[np.floating] = np.array([np.sin(angle), np.cos(angle)], kind)
        back = 1 - 0.5 / np.abs(way).max() if published else step / 2
        at = np.zeros(start.shape, kind)
        moving = np.ones(len(start), bool)
        while moving.any():
            at[moving] += (way * step).astype(kind)
            moving[moving] = framed[tuple((start[moving] + np.rint(at[moving]).astype(int)).T)] == own[moving]
        distances[ray][tuple((start - 1).T)] = np.hypot(*(at - way * back).T)
    return distances
