"""Where things stand in a piece of synthetic tissue: outline, glands, vessels, fibres, and every nucleus.

The plan is drawn on a coarse grid of 1 µm, whatever the resolution of the picture made from it. Grid point
[row, column] stands at y = row, x = column micrometres.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Gland", "Grid", "TissuePlan", "at", "plan_tissue", "smooth_noise"]

Grid = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Gland:
    """A closed ring of epithelium around a lumen.

    Attributes:
        outline_um: (P, 2) the basement membrane, x and y in µm, counter-clockwise in array coordinates.
        wall_um: Height of the epithelium.
        mucin: Share of goblet cells, 0–1.
    """

    outline_um: Grid
    wall_um: float
    mucin: float


@dataclass(frozen=True, slots=True)
class TissuePlan:
    """Fields over the piece, each (h, w) on the 1 µm grid.

    Attributes:
        depth: µm from the tissue's outline, 0 on glass.
        gland_depth: µm from the basement membrane into a gland, 0 outside glands.
        gland_gap: µm from the nearest gland, 0 inside glands.
        lumen: µm beyond the epithelium into the lumen, negative within the epithelium and outside glands.
        vessel_depth: µm from a vessel's wall into it, 0 outside vessels.
        angle: Direction of fibres and of cells' long axes, radians from x towards y.
        muscle: 0 loose stroma, 1 smooth muscle.
        inflamed: Density of inflammatory cells, 0–1.
        glands: The glands themselves.
        follicles: (N, 3) centre x, y and radius in µm of lymphoid aggregates.
    """

    depth: Grid
    gland_depth: Grid
    gland_gap: Grid
    lumen: Grid
    vessel_depth: Grid
    angle: Grid
    muscle: Grid
    inflamed: Grid
    glands: tuple[Gland, ...]
    follicles: Grid

    @property
    def size_um(self) -> tuple[int, int]:
        """Width and height of the grid."""
        return self.depth.shape[1], self.depth.shape[0]


def smooth_noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Grid:
    """(h, w) Gaussian-like noise of unit variance whose features are about `scale` grid points across."""
    h, w = (max(4, round(n / scale) + 3) for n in shape)
    coarse = rng.standard_normal((h, w)).astype(np.float32)
    # Cropping a random part of a cell keeps the lattice from lining up with the picture's edge.
    dx, dy = rng.uniform(0, 1, 2)
    matrix = np.array([[1 / scale, 0, dx + 0.5], [0, 1 / scale, dy + 0.5]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    noise = cv2.warpAffine(coarse, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(noise * 1.35, np.float32)


def at(field: Grid, xy_um: NDArray[np.floating]) -> Grid:
    """(N,) the grid's values nearest to (N, 2) points x, y; points off the grid take the edge's value."""
    column = np.clip(np.rint(xy_um[:, 0]).astype(int), 0, field.shape[1] - 1)
    row = np.clip(np.rint(xy_um[:, 1]).astype(int), 0, field.shape[0] - 1)
    return np.asarray(field[row, column], np.float32)


def plan_tissue(size_um: tuple[float, float], rng: np.random.Generator) -> TissuePlan:
    """Lay out a piece of tissue of about `size_um` (width, height) with a rim of glass around it."""
    shape = (int(np.ceil(size_um[1])) + 1, int(np.ceil(size_um[0])) + 1)
    depth = _distance_inside(_outline(shape, rng) > 0)
    muscle = _muscle(shape, rng)
    glands = _place_glands(depth, muscle, rng)
    gland_mask = np.zeros(shape, np.uint8)
    wall = np.zeros(shape, np.float32)
    for gland in glands:
        points = [np.rint(gland.outline_um).astype(np.int32)]
        cv2.fillPoly(gland_mask, points, 1)
        cv2.fillPoly(wall, points, gland.wall_um)
    gland_depth = _distance_inside(gland_mask > 0)
    gland_gap = _distance_inside(gland_mask == 0) if glands else np.full(shape, 1e4, np.float32)
    folds = 2.2 * smooth_noise(shape, 9, rng)
    lumen = np.where(gland_mask > 0, gland_depth - wall + folds, -1e3).astype(np.float32)
    follicles = _place_follicles(depth, gland_gap, rng)
    vessel_depth = _distance_inside(_vessels(depth, gland_gap, follicles, rng))
    angle = _fibre_angle(depth, gland_depth, gland_gap, vessel_depth, rng)
    inflamed = np.clip(0.16 + 0.34 * smooth_noise(shape, 70, rng), 0.015, 0.8) * (1 - 0.85 * muscle)
    inflamed += 0.22 * np.exp(-gland_gap / 25) * (gland_gap > 0)
    return TissuePlan(
        depth, gland_depth, gland_gap, lumen, vessel_depth, angle, muscle,
        inflamed.astype(np.float32), tuple(glands), follicles,
    )  # fmt: skip


def _distance_inside(mask: NDArray[np.bool_]) -> Grid:
    """(h, w) distance to the nearest false point, 0 where the mask is false."""
    if mask.all():
        return np.full(mask.shape, 1e4, np.float32)
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def _outline(shape: tuple[int, int], rng: np.random.Generator) -> Grid:
    """(h, w) positive within the tissue: a rounded slab with a wavy, slightly frayed edge."""
    h, w = shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    radius = ((np.abs(x / w - 0.5) / 0.46) ** 3.2 + (np.abs(y / h - 0.5) / 0.46) ** 3.2) ** (1 / 3.2)
    side = min(shape)
    waves = 0.11 * smooth_noise(shape, side / 3.5, rng) + 0.03 * smooth_noise(shape, side / 11, rng)
    fray = smooth_noise(shape, 9, rng) * 2.2 / side
    # Waves fade where they would push the tissue over the picture's edge.
    return np.asarray(1 - radius - np.abs(waves) - waves * 0.4 + fray, np.float32)


def _muscle(shape: tuple[int, int], rng: np.random.Generator) -> Grid:
    """(h, w) 0–1: a band of smooth muscle along one side of a large enough piece."""
    h, w = shape
    if min(h, w) < 300:
        return np.zeros(shape, np.float32)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi)
    along = ((x - w / 2) / w * np.cos(turn) + (y - h / 2) / h * np.sin(turn)) * 2
    wavy = (along - 0.42) * min(h, w) / 2 + 18 * smooth_noise(shape, 110, rng)
    return np.asarray(1 / (1 + np.exp(-np.clip(wavy / 6, -30, 30))), np.float32)


def _place_glands(depth: Grid, muscle: Grid, rng: np.random.Generator) -> list[Gland]:
    """Glands dropped at random, large ones first, where they touch neither each other nor the outline."""
    h, w = depth.shape
    crowding = smooth_noise(depth.shape, 190, rng)
    taken = np.zeros(depth.shape, np.uint8)
    tries = min(60000, int(300 + h * w / 40))
    xy = rng.uniform((0, 0), (w, h), (tries, 2))
    radii = np.sort(np.clip(rng.normal(46, 12, tries), 27, 78))[::-1]
    room = (at(depth, xy) > 0.72 * radii + 8) & (at(muscle, xy) < 0.1) & (at(crowding, xy) > -1.1)
    glands = []
    for i in np.flatnonzero(room):
        column, row = xy[i].astype(int)
        reach = int(radii[i] * 0.55)
        if taken[max(0, row - reach) : row + reach : 4, max(0, column - reach) : column + reach : 4].any():
            continue
        gland = _gland(xy[i], float(radii[i]), rng)
        low = np.maximum(gland.outline_um.min(axis=0).astype(int) - 1, 0)
        patch = taken[low[1] : int(xy[i, 1] + radii[i]) + 2, low[0] : int(xy[i, 0] + radii[i]) + 2]
        points = [np.rint(gland.outline_um - low).astype(np.int32)]
        own = cv2.fillPoly(np.zeros(patch.shape, np.uint8), points, 1) > 0
        if not (patch[own]).any() and at(depth, gland.outline_um).min() > 5:
            patch[own] = 1
            cv2.polylines(patch, points, True, 1, thickness=2 * round(rng.uniform(5, 13)))
            glands.append(gland)
    return glands


def _gland(centre: NDArray[np.float64], radius: float, rng: np.random.Generator) -> Gland:
    """One gland that fits in the circle given: an oval with a few gentle waves."""
    theta = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    oval = rng.uniform(0.5, 1.0)
    r = oval / np.sqrt((oval * np.cos(theta)) ** 2 + np.sin(theta) ** 2)
    for order, size in ((2, 0.03), (3, 0.05), (4, 0.035), (5, 0.02)):
        r += size * rng.normal() * np.cos(order * theta + rng.uniform(0, 2 * np.pi))
    r *= radius / r.max()
    turned = theta + rng.uniform(0, 2 * np.pi)
    outline = centre + r[:, None] * np.stack([np.cos(turned), np.sin(turned)], axis=1)
    wall = min(rng.normal(24, 2.5), 0.62 * radius * oval)
    return Gland(outline.astype(np.float32), float(wall), float(np.clip(rng.normal(0.4, 0.25), 0, 0.9)))


def _place_follicles(depth: Grid, gland_gap: Grid, rng: np.random.Generator) -> Grid:
    """(N, 3) x, y, radius of lymphoid aggregates in the stroma, wherever there is room for them."""
    h, w = depth.shape
    wanted = max(1, round(h * w / 90000))
    tries = 400
    xy = rng.uniform((0, 0), (w, h), (tries, 2))
    radii = np.clip(np.minimum(at(gland_gap, xy) + 4, rng.uniform(28, 62, tries)), 0, None)
    kept: list[int] = []
    for i in np.flatnonzero((radii > 13) & (at(depth, xy) > radii + 6)):
        distance = np.hypot(*(xy[kept] - xy[i]).T)
        if len(kept) < wanted and (distance > 1.3 * (radii[kept] + radii[i])).all():
            kept.append(int(i))
    return np.column_stack([xy[kept], radii[kept]]).astype(np.float32).reshape(-1, 3)


def _vessels(depth: Grid, gland_gap: Grid, follicles: Grid, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(h, w) the inside of small blood vessels, cut across."""
    h, w = depth.shape
    free = np.minimum(depth, gland_gap)
    for x, y, radius in follicles:
        rows, columns = np.ogrid[:h, :w]
        free = np.minimum(free, np.hypot(columns - x, rows - y) - radius)
    mask = np.zeros((h, w), np.uint8)
    for _ in range(max(2, round(h * w / 14000))):
        xy = rng.uniform((0, 0), (w, h))
        radius = min(rng.uniform(5, 17), float(at(free, xy[None])[0]) - 4)
        if radius < 4.5:
            continue
        axes = (round(radius), round(max(3.0, radius * rng.uniform(0.4, 0.9))))
        cv2.ellipse(mask, (round(xy[0]), round(xy[1])), axes, rng.uniform(0, 180), 0, 360, 1, -1)
        free = np.minimum(free, _distance_inside(mask == 0) - 6)
    return mask > 0


def _fibre_angle(depth: Grid, gland_depth: Grid, gland_gap: Grid, vessel_depth: Grid, rng: np.random.Generator) -> Grid:
    """(h, w) direction: wandering in the open, around glands and vessels, along the outline, upright in glands.

    Directions have no sign, so they are mixed as doubled angles.
    """
    open_angle = rng.uniform(0, np.pi) + 0.55 * smooth_noise(depth.shape, 150, rng)
    open_angle += 0.22 * smooth_noise(depth.shape, 28, rng)
    double = np.exp(2j * open_angle.astype(np.complex64))
    vessel_gap = _distance_inside(vessel_depth == 0)
    for distance, reach in ((np.minimum(depth, 200), 14.0), (gland_gap, 11.0), (vessel_gap, 5.0)):
        weight = np.exp(-distance / reach)
        double = double * (1 - weight) + weight * np.exp(2j * (_uphill(distance) + np.pi / 2))
    inside = gland_depth > 0
    double[inside] = np.exp(2j * _uphill(gland_depth)[inside])
    smooth = (
        cv2.blur(np.ascontiguousarray(double.real, np.float32), (5, 5)),
        cv2.blur(np.ascontiguousarray(double.imag, np.float32), (5, 5)),
    )
    return np.asarray(np.arctan2(smooth[1], smooth[0]) / 2, np.float32)


def _uphill(field: Grid) -> Grid:
    """(h, w) direction in which the field grows fastest, radians."""
    soft = cv2.GaussianBlur(field, (0, 0), 2.0)
    gy, gx = np.gradient(soft)
    return np.asarray(np.arctan2(gy, gx), np.float32)
