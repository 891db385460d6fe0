"""Small label maps for tests: what a decoder must cope with."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from histocyte.core.errors import UnknownNameError
from histocyte.core.instances import Labels

__all__ = ["SCENES", "discs", "packed_ellipses", "scene", "touching_grid"]

_CLASSES = 4


def discs(size: tuple[int, int], centres: ArrayLike, radii: ArrayLike) -> Labels:
    """Discs; where two meet, a pixel goes to the one whose rim it lies deeper within, so they touch along a line.

    Args:
        size: Width and height of the map, px.
        centres: (N, 2) x, y in px, pixel [row, column] having its centre at (column + 0.5, row + 0.5).
        radii: (N,) or one for all, px.

    Returns:
        Labels 1..N in the order given (a disc outside the map leaves no pixels, and no id), types 1–4 in turn.
    """
    xy = np.asarray(centres, np.float64).reshape(-1, 2)
    radius = np.broadcast_to(np.asarray(radii, np.float64), len(xy))
    return _ellipses(size, xy, np.column_stack([radius, radius]), np.zeros(len(xy)))


def touching_grid(size: tuple[int, int], radius: float, spacing: float) -> Labels:
    """Discs on a square grid, `spacing` px from centre to centre; they touch where spacing ≤ 2 radius."""
    x, y = (np.arange(spacing / 2, n, spacing) for n in size)
    return discs(size, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), radius)


def packed_ellipses(size: tuple[int, int], n: int, seed: int) -> Labels:
    """Up to `n` random ellipses of 5–12 px half-axes, packed so that many touch and none covers another.

    Fewer where there is no room for `n`.
    """
    rng = np.random.default_rng(seed)
    axes = rng.uniform(5, 12, (n, 2))
    kept: list[int] = []
    xy = np.zeros((n, 2))
    for i in range(n):
        for _ in range(30):
            xy[i] = rng.uniform(0, 1, 2) * size
            apart = np.hypot(*(xy[kept] - xy[i]).T)
            if (apart > 0.85 * (axes[kept].mean(axis=1) + axes[i].mean())).all():
                kept.append(i)
                break
    return _ellipses(size, xy[kept], axes[kept], rng.uniform(0, np.pi, n)[kept])


def scene(kind: str, seed: int = 0) -> Labels:
    """One of the named scenes, 128 × 128 px; see `SCENES` for the names.

    Raises:
        UnknownNameError: There is no such scene.
    """
    if kind not in SCENES:
        raise UnknownNameError("scene", kind, SCENES)
    return SCENES[kind](seed)


def _ellipses(
    size: tuple[int, int], xy: NDArray[np.float64], axes: NDArray[np.float64], angle: NDArray[np.float64]
) -> Labels:
    width, height = size
    depth = np.zeros((height, width))
    instances = np.zeros((height, width), np.int32)
    for i, ((x, y), (a, b), turn) in enumerate(zip(xy, axes, angle, strict=True), 1):
        reach = max(a, b) + 1
        x0, y0 = max(0, int(x - reach)), max(0, int(y - reach))
        x1, y1 = min(width, int(x + reach) + 2), min(height, int(y + reach) + 2)
        if x1 <= x0 or y1 <= y0:
            continue
        dx, dy = np.arange(x0, x1) + 0.5 - x, np.arange(y0, y1)[:, None] + 0.5 - y
        u, v = (dx * np.cos(turn) + dy * np.sin(turn)) / a, (dy * np.cos(turn) - dx * np.sin(turn)) / b
        inner = (1 - np.hypot(u, v)) * min(a, b)
        wins = inner > depth[y0:y1, x0:x1]
        depth[y0:y1, x0:x1][wins] = inner[wins]
        instances[y0:y1, x0:x1][wins] = i
    return _numbered(instances)


def _numbered(instances: NDArray[np.int32]) -> Labels:
    """Ids without gaps and types 1–4 in turn."""
    ids, flat = np.unique(instances, return_inverse=True)
    first = 0 if ids[0] == 0 else 1
    renumbered = (flat.reshape(instances.shape) + first).astype(np.int32)
    n = int(renumbered.max(initial=0))
    types = np.concatenate([[0], np.arange(n) % _CLASSES + 1]).astype(np.uint8)
    return Labels(renumbered, types)


def _horseshoes(seed: int) -> Labels:
    """Bent nuclei whose centre of mass lies near or outside their rim, one hugging a round one."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((128, 128), np.int32)
    spots = ((34, 34, 0), (92, 36, 1), (36, 92, 0), (90, 90, 0))
    for i, (x, y, hugging) in enumerate(spots, 1):
        turn = float(rng.uniform(0, 360))
        cv2.ellipse(canvas, (x, y), (15, 15), turn, 20, 250, i, thickness=9)
        if hugging:
            cv2.circle(canvas, (x, y), 10, len(spots) + 1, -1)
    return _numbered(canvas)


def _random_discs(seed: int) -> Labels:
    rng = np.random.default_rng(seed)
    return discs((128, 128), rng.uniform(0, 128, (30, 2)), rng.uniform(5, 11, 30))


def _border(seed: int) -> Labels:
    """Nuclei cut by every side and every corner."""
    shift = np.random.default_rng(seed).uniform(-3, 3, (8, 2))
    around = np.array([(0, 0), (64, 0), (128, 0), (0, 64), (128, 64), (0, 128), (64, 128), (128, 128)])
    return discs((128, 128), around + shift, 11)


def _pair(seed: int) -> Labels:
    turn = np.random.default_rng(seed).uniform(0, np.pi)
    offset = 9.0 * np.array([np.cos(turn), np.sin(turn)])
    return discs((128, 128), [64 - offset, 64 + offset], 10)


SCENES: dict[str, Callable[[int], Labels]] = {
    "empty": lambda seed: _numbered(np.zeros((128, 128), np.int32)),
    "one": lambda seed: discs((128, 128), np.random.default_rng(seed).uniform(30, 98, (1, 2)), 11),
    "touching_pair": _pair,
    "touching_grid": lambda seed: touching_grid((128, 128), 8 + seed % 3, 15.5),
    "random_discs": _random_discs,
    "packed_ellipses": lambda seed: packed_ellipses((128, 128), 60, seed),
    "border": _border,
    "non_convex": _horseshoes,
}
"""Scene name → function of a seed."""
