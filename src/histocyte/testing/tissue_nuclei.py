"""The nuclei of a tissue plan: where each stands, how it lies, and its outline as a label map."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.instances import Labels
from histocyte.testing.tissue_plan import Gland, TissuePlan, at

__all__ = ["EPITHELIAL", "INFLAMMATORY", "OTHER", "SPINDLE", "Nuclei", "draw_labels", "place_nuclei", "walk_outline"]

OTHER, INFLAMMATORY, EPITHELIAL, SPINDLE = 1, 2, 3, 4
"""Types in the order of `core.taxonomies.CONSEP`."""

_ROUGHNESS = {OTHER: 0.09, INFLAMMATORY: 0.035, EPITHELIAL: 0.035, SPINDLE: 0.05}
_OUTLINE_POINTS = 28


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Nuclei to draw, one row each, in order of precedence.

    Attributes:
        xy_um: (N, 2) centres.
        angle: (N,) direction of the long axis, radians.
        axes_um: (N, 2) length and width.
        types: (N,) class, 1–4.
    """

    xy_um: NDArray[np.float64]
    angle: NDArray[np.float64]
    axes_um: NDArray[np.float64]
    types: NDArray[np.uint8]

    @classmethod
    def concatenate(cls, parts: list[Nuclei]) -> Nuclei:
        """All parts, one after the other."""
        return cls(
            np.concatenate([p.xy_um for p in parts]),
            np.concatenate([p.angle for p in parts]),
            np.concatenate([p.axes_um for p in parts]),
            np.concatenate([p.types for p in parts]),
        )


def place_nuclei(plan: TissuePlan, rng: np.random.Generator) -> Nuclei:
    """Choose a place, direction and size for every nucleus of the plan."""
    parts = [_epithelium(gland, rng) for gland in plan.glands]
    parts += [_endothelium(plan, rng), *(_follicle(x, y, r, rng) for x, y, r in plan.follicles)]
    parts += [_stromal(plan, rng), _scattered_inflammatory(plan, rng), _odd_ones(plan, rng)]
    return Nuclei.concatenate(parts)


def walk_outline(
    outline_um: NDArray[np.floating], spacing_um: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points every `spacing_um` along a closed outline, and the direction inward at each.

    Returns:
        (N, 2) points and (N, 2) unit vectors pointing to the inside.
    """
    closed = np.vstack([outline_um, outline_um[:1]]).astype(np.float64)
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    where = np.arange(0, along[-1] - spacing_um / 2, spacing_um)
    points = np.column_stack([np.interp(where, along, closed[:, i]) for i in (0, 1)])
    ahead = np.column_stack([np.interp((where + 2) % along[-1], along, closed[:, i]) for i in (0, 1)])
    tangent = ahead - points
    tangent /= np.hypot(*tangent.T)[:, None] + 1e-9
    return points, np.column_stack([-tangent[:, 1], tangent[:, 0]])


def _nuclei(
    kind: int,
    xy: NDArray[np.float64],
    angle: NDArray[np.floating],
    length: tuple[float, float],
    width: tuple[float, float],
    rng: np.random.Generator,
) -> Nuclei:
    """Nuclei of one kind with length and width drawn from (mean, deviation), µm."""
    n = len(xy)
    long = np.clip(rng.normal(*length, n), 0.6 * length[0], 1.6 * length[0])
    wide = np.minimum(np.clip(rng.normal(*width, n), 0.65 * width[0], 1.5 * width[0]), long)
    return Nuclei(xy, np.asarray(angle, np.float64), np.column_stack([long, wide]), np.full(n, kind, np.uint8))


def _epithelium(gland: Gland, rng: np.random.Generator) -> Nuclei:
    """A ring of tall nuclei near the basement membrane, here and there in two rows."""
    parts = []
    crowd = rng.uniform(0.15, 0.6)
    for depth_um, share in ((min(6.5, 0.36 * gland.wall_um), 1.0), (min(13.5, 0.62 * gland.wall_um), crowd)):
        points, inward = walk_outline(gland.outline_um, 4.9)
        depth = depth_um + rng.normal(0, 0.9, len(points))
        depth += 1.6 * np.sin(np.arange(len(points)) * rng.uniform(0.15, 0.4))
        xy = points + inward * depth[:, None] + rng.normal(0, 0.35, points.shape)
        angle = np.arctan2(inward[:, 1], inward[:, 0]) + rng.normal(0, 0.13, len(points))
        keep = rng.uniform(size=len(points)) < share
        parts.append(_nuclei(EPITHELIAL, xy[keep], angle[keep], (9.4, 1.0), (4.7, 0.55), rng))
    return Nuclei.concatenate(parts)


def _endothelium(plan: TissuePlan, rng: np.random.Generator) -> Nuclei:
    """Thin nuclei along the walls of the vessels."""
    rings, _ = cv2.findContours((plan.vessel_depth > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = [walk_outline(ring[:, 0].astype(np.float64), rng.uniform(11, 17))[0] for ring in rings if len(ring) > 8]
    xy = np.concatenate([np.empty((0, 2)), *points])
    return _nuclei(SPINDLE, xy, at(plan.angle, xy), (8.5, 1.4), (2.3, 0.35), rng)


def _follicle(x: float, y: float, radius: float, rng: np.random.Generator) -> Nuclei:
    """Lymphocytes shoulder to shoulder in a ragged disc."""
    pitch = 5.5
    side = int(radius / pitch * 1.25) + 1
    column, row = np.meshgrid(np.arange(-side, side + 1), np.arange(-side, side + 1))
    grid = np.column_stack([(column + 0.5 * (row % 2)).ravel(), row.ravel() * 0.866]) * pitch
    xy = grid + rng.normal(0, 0.8, grid.shape)
    turn = np.arctan2(xy[:, 1], xy[:, 0])
    ragged = radius * (1 + 0.14 * np.sin(2 * turn + rng.uniform(0, 6)) + 0.1 * np.sin(3 * turn + rng.uniform(0, 6)))
    inside = np.hypot(*xy.T) / ragged
    keep = rng.uniform(size=len(xy)) < np.clip((1.12 - inside) * 4, 0, 0.93)
    return _lymphocytes(xy[keep] + (x, y), rng)


def _lymphocytes(xy: NDArray[np.float64], rng: np.random.Generator) -> Nuclei:
    return _nuclei(INFLAMMATORY, xy, rng.uniform(0, np.pi, len(xy)), (5.8, 0.65), (5.1, 0.5), rng)


def _jittered(plan: TissuePlan, pitch: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, 2) one random point in every cell of a grid over the plan, in random order."""
    w, h = plan.size_um
    grid = np.stack(np.meshgrid(np.arange(0, w, pitch), np.arange(0, h, pitch)), axis=-1).reshape(-1, 2)
    return np.asarray(rng.permutation(grid + rng.uniform(0, pitch, grid.shape)))


def _in_stroma(plan: TissuePlan, xy: NDArray[np.float64], gap_um: float) -> NDArray[np.bool_]:
    clear = (at(plan.gland_gap, xy) > gap_um) & (at(plan.depth, xy) > 4) & (at(plan.vessel_depth, xy) == 0)
    for x, y, radius in plan.follicles:
        clear &= np.hypot(xy[:, 0] - x, xy[:, 1] - y) > radius * 0.95
    return np.asarray(clear)


def _stromal(plan: TissuePlan, rng: np.random.Generator) -> Nuclei:
    """Fibroblasts and muscle cells, lying along the fibres."""
    xy = _jittered(plan, 10.5, rng)
    xy = xy[_in_stroma(plan, xy, 2.2) & (rng.uniform(size=len(xy)) < 0.5 + 0.25 * at(plan.muscle, xy))]
    angle = at(plan.angle, xy) + rng.normal(0, 0.16, len(xy))
    nuclei = _nuclei(SPINDLE, xy, angle, (10.5, 2.6), (2.9, 0.65), rng)
    nuclei.axes_um[:, 0] *= 1 + 0.25 * at(plan.muscle, xy)
    return nuclei


def _scattered_inflammatory(plan: TissuePlan, rng: np.random.Generator) -> Nuclei:
    """Lymphocytes and plasma cells strewn through the stroma, some within the epithelium."""
    xy = _jittered(plan, 6.6, rng)
    chance = rng.uniform(size=len(xy))
    stroma = _in_stroma(plan, xy, 3.4) & (chance < at(plan.inflamed, xy))
    within = (at(plan.gland_depth, xy) > 3) & (at(plan.lumen, xy) < -5) & (chance < 0.012)
    return _lymphocytes(xy[stroma | within], rng)


def _odd_ones(plan: TissuePlan, rng: np.random.Generator) -> Nuclei:
    """Shrunken, dying or dividing nuclei: small, very dark, lumpy."""
    xy = _jittered(plan, 34, rng)
    xy = xy[(_in_stroma(plan, xy, 4) | (at(plan.lumen, xy) > 3)) & (rng.uniform(size=len(xy)) < 0.12)]
    return _nuclei(OTHER, xy, rng.uniform(0, np.pi, len(xy)), (4.6, 0.9), (3.5, 0.6), rng)


def _outlines(nuclei: Nuclei, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, P, 2) outlines in µm: ovals, pointed for spindle cells, each a little irregular."""
    n = len(nuclei.types)
    t = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
    rough = np.array([0, *(_ROUGHNESS[k] for k in range(1, 5))])[nuclei.types]
    radius = np.ones((n, len(t)))
    for order, share in ((2, 1.0), (3, 0.9), (4, 0.5)):
        size, phase = rng.normal(0, share, (n, 1)) * rough[:, None], rng.uniform(0, 2 * np.pi, (n, 1))
        radius += size * np.cos(order * t + phase)
    pointed = np.where(nuclei.types == SPINDLE, 1.45, 1.0)[:, None]
    u = radius * np.cos(t) * nuclei.axes_um[:, :1] / 2
    v = radius * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** pointed * nuclei.axes_um[:, 1:] / 2
    bend = np.where(nuclei.types == SPINDLE, 0.016, 0.008)[:, None] * rng.normal(size=(n, 1))
    v = v + bend * (u**2 - (nuclei.axes_um[:, :1] / 4) ** 2)
    cos, sin = np.cos(nuclei.angle)[:, None], np.sin(nuclei.angle)[:, None]
    return np.stack([u * cos - v * sin, u * sin + v * cos], axis=2) + nuclei.xy_um[:, None]


def draw_labels(
    nuclei: Nuclei, size_px: tuple[int, int], mpp: float, rng: np.random.Generator, *, overlap: float = 0.14
) -> Labels:
    """Draw nuclei into a label map; the earlier one keeps a contested pixel.

    Args:
        nuclei: What to draw.
        size_px: Width and height of the map.
        mpp: Its resolution.
        rng: Source of the irregularity of outlines.
        overlap: A nucleus that would lose more than this share of its pixels to others is left out.

    Returns:
        The map with ids 1..N and their types.
    """
    width, height = size_px
    instances = np.zeros((height, width), np.int32)
    types = [0]
    polygons = _outlines(nuclei, rng) / mpp - 0.5
    low = np.floor(polygons.min(axis=1)).astype(int) - 1
    high = np.ceil(polygons.max(axis=1)).astype(int) + 2
    low, high = np.maximum(low, 0), np.minimum(high, size_px)
    for i in np.flatnonzero((high - low).min(axis=1) > 2):
        (x0, y0), (x1, y1) = low[i], high[i]
        patch = instances[y0:y1, x0:x1]
        mask = np.zeros(patch.shape, np.uint8)
        cv2.fillPoly(mask, [np.rint((polygons[i] - (x0, y0)) * 16).astype(np.int32)], 1, shift=4)
        free = mask * (patch == 0)
        whole, left = int(mask.sum()), int(free.sum())
        if left < 12 or left < (1 - overlap) * whole:
            continue
        patch[_largest_piece(free) if left < whole else free > 0] = len(types)
        types.append(int(nuclei.types[i]))
    return Labels(instances, np.array(types, np.uint8))


def _largest_piece(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    return np.asarray(pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())
