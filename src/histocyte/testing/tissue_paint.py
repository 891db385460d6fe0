"""The look of synthetic tissue: how much haematoxylin and eosin lies where, and the light that comes through.

Stains multiply light, so everything is added up as optical density (natural logarithm) and turned into light at
the end (Beer–Lambert). The stain vectors lie between the classical ones of Ruifrok & Johnston 2001 and those
measured on colorectal slides.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.geometry import Box
from histocyte.core.instances import Labels
from histocyte.testing.tissue_nuclei import EPITHELIAL, INFLAMMATORY, walk_outline
from histocyte.testing.tissue_plan import Grid, TissuePlan, smooth_noise

__all__ = ["Painter"]

_HAEMATOXYLIN = np.array([0.575, 0.775, 0.260], np.float32)
_EOSIN = np.array([0.15, 0.89, 0.40], np.float32)
_BLOOD = np.array([0.10, 0.76, 0.64], np.float32)
_LAMP = np.array([243.0, 242.0, 244.0], np.float32)

_FIBRE_MPP = 0.5
"""Resolution at which fibres are spun, µm/px."""

# Per type (background first): haematoxylin of the body, of the membrane, of the chromatin's grain, and how much
# the body varies between nuclei.
_BODY = np.array([0, 1.45, 1.20, 0.55, 0.66], np.float32)
_RIM = np.array([0, 0.0, 0.10, 0.34, 0.14], np.float32)
_GRAIN = np.array([0, 0.24, 0.31, 0.25, 0.19], np.float32)
_VARIETY = np.array([0, 0.15, 0.14, 0.15, 0.24], np.float32)


@dataclass(frozen=True, slots=True)
class _Extras:
    """Small things drawn at full resolution before the stains are added up, each (H, W) 0–1."""

    mucin: NDArray[np.uint8]
    nucleoli: NDArray[np.uint8]
    blood: NDArray[np.uint8]
    cytoplasm: NDArray[np.uint8]


class Painter:
    """Paints the picture of a plan and its nuclei, strip by strip."""

    def __init__(self, plan: TissuePlan, labels: Labels, mpp: float, rng: np.random.Generator) -> None:
        self._plan = plan
        self._labels = labels
        self._mpp = mpp
        self._seed = int(rng.integers(2**31))
        self._fine, self._coarse = _spin_fibres(plan.angle, rng)
        self._thickness = 1 + 0.09 * smooth_noise(plan.depth.shape, 130, rng)
        self._redness = 1 + 0.10 * smooth_noise(plan.depth.shape, 160, rng)
        self._density = smooth_noise(plan.depth.shape, 45, rng)
        self._flakes = smooth_noise(plan.depth.shape, 4, rng) + smooth_noise(plan.depth.shape, 11, rng)
        self._body = _body_of_each(labels, rng)
        self._extras = self._draw_extras(rng)

    def paint(self, strip_px: int = 1024, margin_px: int = 24) -> NDArray[np.uint8]:
        """The whole picture, (H, W, 3) uint8."""
        height, width = self._labels.instances.shape
        image = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, strip_px):
            core = Box(0, top, width, min(strip_px, height - top))
            field = core.expand(margin_px).clip(Box(0, 0, width, height))
            strip = self._paint_field(field, np.random.default_rng([self._seed, top]))
            image[core.slices()] = strip[core.slices((field.x, field.y))]
        return image

    def _paint_field(self, box: Box, rng: np.random.Generator) -> NDArray[np.uint8]:
        haematoxylin, eosin, blood = self._stains(box, rng)
        blur = 0.19 / self._mpp
        density = np.empty((*haematoxylin.shape, 3), np.float32)
        for channel in range(3):
            density[..., channel] = (
                haematoxylin * _HAEMATOXYLIN[channel] + eosin * _EOSIN[channel] + blood * _BLOOD[channel]
            )
        light = _blurred(np.exp(-density) * _LAMP, max(0.3, blur))
        # Scanners sharpen.
        light += 0.45 * (light - _blurred(light, 0.45 / self._mpp))
        light += rng.standard_normal(light.shape, np.float32) * 1.6
        return _through_jpeg(np.clip(light + 0.5, 0, 255).astype(np.uint8))

    def _stains(self, box: Box, rng: np.random.Generator) -> tuple[Grid, Grid, Grid]:
        """Haematoxylin, eosin and blood in optical density over one field."""
        slices = box.slices()
        fine = self._up(self._fine, box, _FIBRE_MPP)
        depth = self._up(self._plan.depth, box)
        inside = np.clip((depth - 1.6 + 0.9 * fine) * 0.8, 0, 1) * np.clip(depth * 0.7, 0, 1)
        h, e = self._ground(box, rng)
        ids = self._labels.instances[slices]
        cover = cv2.GaussianBlur((ids > 0).astype(np.float32), (0, 0), 0.16 / self._mpp)
        around = _distance_um(ids == 0, self._mpp)
        # Tissue shrinks away from nuclei when it is dehydrated.
        e *= 1 - 0.22 * np.exp(-((around / 0.9) ** 2))
        nuclear = self._chromatin(ids, slices, rng)
        h = h * (1 - cover) + nuclear * np.sqrt(cover)
        e = e * (1 - 0.55 * cover) + 0.17 * cover
        thickness = self._up(self._thickness, box)
        red = self._extras.blood[slices].astype(np.float32) / 255 * (1 - cover)
        inside_h, inside_e = inside * thickness, inside * thickness * self._up(self._redness, box)
        return h * inside_h, e * inside_e * (1 - 0.8 * red), red * 0.62 * inside

    def _ground(self, box: Box, rng: np.random.Generator) -> tuple[Grid, Grid]:
        """Haematoxylin and eosin of everything but nuclei."""
        plan, up = self._plan, self._up
        shape = (box.height, box.width)
        fine, coarse = (self._up(f, box, _FIBRE_MPP) for f in (self._fine, self._coarse))
        muscle, density = up(plan.muscle, box), up(self._density, box)
        grain = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 0.3 / self._mpp) * (
            2 / self._mpp * 0.3
        )
        gap = up(plan.gland_gap, box)
        retraction = 1.7 * np.exp(-(((gap - 2.2) / 1.5) ** 2)) * np.clip(density + 0.2, 0, 1)
        clefts = 1 / (1 + np.exp(-(coarse + 0.85 + 0.5 * density + 1.6 * muscle - retraction) * 4.5))
        stroma_e = (
            (0.07 + 0.37 * clefts) * (1 + 0.17 * fine + 0.13 * grain) * (1 + 0.32 * muscle) * (1 + 0.08 * density)
        )
        stroma_h = 0.035 + 0.075 * clefts * (1 + 0.3 * fine + 0.15 * grain)
        depth, lumen = up(plan.gland_depth, box), up(plan.lumen, box)
        in_gland = np.clip(depth * 1.5, 0, 1)
        apical = np.exp(-((np.clip(lumen, -50, 50) + 1.0) ** 2) / 2.5)
        cell_e = 0.32 * (1 + 0.15 * fine + 0.17 * grain) + 0.16 * apical
        cell_h = 0.22 * (1 + 0.2 * fine + 0.22 * grain) + 0.08 * apical
        mucin = cv2.GaussianBlur(self._extras.mucin[box.slices()], (0, 0), 0.3 / self._mpp).astype(np.float32) / 255
        wall = np.clip(mucin * (1 - mucin) * 4, 0, 1)
        cell_e = cell_e * (1 - 0.80 * mucin) + 0.10 * wall
        cell_h = cell_h * (1 - 0.55 * mucin) + 0.02 * grain * mucin + 0.06 * wall
        hollow = np.clip(lumen * 0.9 + 0.5, 0, 1)
        wisps = np.clip(0.8 * density + 0.45 * up(self._flakes, box) - 0.3, 0, 1.3)
        cell_h = cell_h * (1 - hollow) + hollow * (0.012 + 0.10 * wisps * (1 + 0.3 * grain))
        cell_e = cell_e * (1 - hollow) + hollow * (0.015 + 0.09 * wisps)
        membrane = np.exp(-(((np.maximum(depth, gap) - 0.8) / 0.8) ** 2))
        h = stroma_h * (1 - in_gland) + cell_h * in_gland
        e = stroma_e * (1 - in_gland) + cell_e * in_gland + 0.10 * membrane
        plasma = (
            cv2.GaussianBlur(self._extras.cytoplasm[box.slices()], (0, 0), 0.4 / self._mpp).astype(np.float32) / 255
        )
        plasma *= 1 - in_gland
        h = h * (1 - plasma) + 0.24 * plasma * (1 + 0.15 * grain)
        e = e * (1 - plasma) + 0.33 * plasma * (1 + 0.12 * grain)
        return self._empty_vessels(box, h, e)

    def _empty_vessels(self, box: Box, h: Grid, e: Grid) -> tuple[Grid, Grid]:
        depth = self._up(self._plan.vessel_depth, box)
        empty = np.clip((depth - 0.5) * 1.2, 0, 1)
        wall = np.exp(-(((depth - 0.6) / 1.1) ** 2)) * (depth > 0)
        return h * (1 - 0.92 * empty), e * (1 - 0.90 * empty) + 0.14 * wall

    def _chromatin(self, ids: NDArray[np.int32], slices: tuple[slice, slice], rng: np.random.Generator) -> Grid:
        """Haematoxylin within nuclei: body, darker membrane, clumps of chromatin, nucleoli."""
        assert self._labels.types is not None
        same = np.ones(ids.shape, np.bool_)
        for axis in (0, 1):
            step = np.diff(ids, axis=axis) != 0
            lead, trail = [slice(None)] * 2, [slice(None)] * 2
            lead[axis], trail[axis] = slice(None, -1), slice(1, None)
            same[tuple(lead)][step] = False
            same[tuple(trail)][step] = False
        depth = _distance_um(same, self._mpp)
        types = self._labels.types[ids]
        clumps = np.zeros(ids.shape, np.float32)
        for sigma_um, share in ((0.22, 0.5), (0.5, 0.85)):
            noise = cv2.GaussianBlur(rng.standard_normal(ids.shape, np.float32), (0, 0), sigma_um / self._mpp)
            clumps += share * noise / noise.std()
        profile = np.exp(-(((depth - 0.35) / 0.38) ** 2))
        edge = 1 - 0.30 * np.exp(-depth / 0.22) * (types == INFLAMMATORY)
        nucleoli = self._extras.nucleoli[slices].astype(np.float32) / 255
        return np.asarray(
            self._body[ids] * edge + _RIM[types] * profile + _GRAIN[types] * clumps + 0.55 * nucleoli, np.float32
        ).clip(0.08, 2.2)

    def _up(self, field: Grid, box: Box, field_mpp: float = 1.0) -> Grid:
        """(H, W) a coarse field brought to the picture's resolution over one box."""
        k = self._mpp / field_mpp
        matrix = np.array([[k, 0, (box.x + 0.5) * k], [0, k, (box.y + 0.5) * k]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (box.width, box.height)
        return np.asarray(cv2.warpAffine(field, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)

    def _draw_extras(self, rng: np.random.Generator) -> _Extras:
        shape = self._labels.instances.shape
        extras = _Extras(*(np.zeros(shape, np.uint8) for _ in range(4)))
        for gland in self._plan.glands:
            points, inward = walk_outline(gland.outline_um, 8.6)
            keep = rng.uniform(size=len(points)) < gland.mucin
            for (x, y), (dx, dy) in zip(points[keep], inward[keep], strict=True):
                depth = gland.wall_um - rng.uniform(4.5, 6.5)
                axes = rng.uniform(4.2, 6.0), rng.uniform(3.0, 4.3)
                self._ellipse(extras.mucin, (x + dx * depth, y + dy * depth), axes, np.degrees(np.arctan2(dy, dx)), 255)
        self._draw_nucleoli(extras.nucleoli, rng)
        self._draw_blood(extras.blood, rng)
        self._draw_cytoplasm(extras.cytoplasm, rng)
        return extras

    def _draw_nucleoli(self, canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
        assert self._labels.types is not None
        ids = self._labels.instances
        rows, columns = np.nonzero(np.isin(self._labels.types, (EPITHELIAL,))[ids])
        wanted = int(1.1 * (self._labels.types == EPITHELIAL).sum())
        if len(rows) == 0:
            return
        for i in rng.integers(0, len(rows), wanted):
            radius = rng.uniform(0.35, 0.75)
            centre = ((columns[i] + 0.5) * self._mpp, (rows[i] + 0.5) * self._mpp)
            self._ellipse(canvas, centre, (radius, radius * rng.uniform(0.7, 1)), rng.uniform(0, 180), 255)
        canvas[ids == 0] = 0

    def _draw_cytoplasm(self, canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
        """Cytoplasm to one side of many an inflammatory nucleus, as plasma cells have it."""
        ids = self._labels.instances
        assert self._labels.types is not None
        rows, columns = np.nonzero(ids)
        own = ids[rows, columns]
        count = np.maximum(np.bincount(own, minlength=len(self._labels.types)), 1)
        x, y = (np.bincount(own, where + 0.5, len(count)) / count * self._mpp for where in (columns, rows))
        chosen = (self._labels.types == INFLAMMATORY) & (rng.uniform(size=len(count)) < 0.55)
        for i in np.flatnonzero(chosen):
            turn, radius = rng.uniform(0, 2 * np.pi), rng.uniform(3.2, 4.1)
            centre = x[i] + 1.7 * np.cos(turn), y[i] + 1.7 * np.sin(turn)
            self._ellipse(canvas, centre, (radius, radius * 0.85), np.degrees(turn), int(rng.uniform(120, 255)))

    def _draw_blood(self, canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
        """Red cells in vessels and a few strays in the stroma, each a disc with a paler middle."""
        plan = self._plan
        w, h = plan.size_um
        grid = np.stack(np.meshgrid(np.arange(0, w, 5.6), np.arange(0, h, 5.2)), axis=-1).reshape(-1, 2)
        xy = grid + rng.normal(0, 0.9, grid.shape)
        column, row = (np.clip(np.rint(xy[:, i]).astype(int), 0, (w, h)[i] - 1) for i in (0, 1))
        full = smooth_noise((h, w), 40, rng)[row, column] > -0.5
        in_vessel = (plan.vessel_depth[row, column] > 2.6) & full & (rng.uniform(size=len(xy)) < 0.9)
        stray = (plan.gland_gap[row, column] > 4) & (plan.depth[row, column] > 6) & (rng.uniform(size=len(xy)) < 0.0025)
        for x, y in xy[in_vessel | stray]:
            axes, turn = (rng.uniform(2.5, 3.1), rng.uniform(2.1, 2.8)), rng.uniform(0, 180)
            self._ellipse(canvas, (x, y), axes, turn, int(rng.uniform(190, 255)))
            self._ellipse(canvas, (x, y), (axes[0] * 0.42, axes[1] * 0.42), turn, 150)

    def _ellipse(
        self,
        canvas: NDArray[np.uint8],
        centre_um: tuple[float, float],
        axes_um: tuple[float, float],
        turn: float,
        value: int,
    ) -> None:
        k = 16 / self._mpp
        centre = round(centre_um[0] * k) - 8, round(centre_um[1] * k) - 8
        axes = round(axes_um[0] * k), round(axes_um[1] * k)
        cv2.ellipse(canvas, centre, axes, float(turn), 0, 360, value, -1, cv2.LINE_AA, 4)


def _blurred(field: Grid, sigma_px: float) -> Grid:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma_px), np.float32)


def _distance_um(mask: NDArray[np.bool_], mpp: float) -> Grid:
    """(H, W) µm to the nearest false pixel; 100 µm and more read as 100."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(np.minimum(distance, 100 / mpp) * mpp, np.float32)


def _body_of_each(labels: Labels, rng: np.random.Generator) -> Grid:
    """(N + 1,) haematoxylin of each nucleus' body; 0 for the background."""
    assert labels.types is not None
    spread = 1 + _VARIETY[labels.types] * rng.standard_normal(len(labels.types), np.float32)
    return np.asarray(_BODY[labels.types] * np.clip(spread, 0.55, 1.5), np.float32)


def _spin_fibres(angle: Grid, rng: np.random.Generator) -> tuple[Grid, Grid]:
    """Two textures of unit variance at 0.5 µm/px, drawn out along the angle: fibrils, and bundles with clefts."""
    h, w = (round(n / _FIBRE_MPP) for n in angle.shape)
    size = (w, h)
    double = [cv2.resize(f(2 * angle), size, interpolation=cv2.INTER_LINEAR) for f in (np.cos, np.sin)]
    # Collagen is crimped: its fibres waver about their course.
    turn = np.arctan2(double[1], double[0]) / 2 + 0.26 * smooth_noise((h, w), 18, rng)
    direction = np.cos(turn), np.sin(turn)
    fibrils = _drawn_out(rng.standard_normal((h, w), np.float32), direction, (1, 2, 4, 6))
    blobs = _blurred(rng.standard_normal((h, w), np.float32), 1.5)
    bundles = _drawn_out(blobs, direction, (2, 4, 7, 12))
    return fibrils, bundles


def _drawn_out(noise: Grid, direction: tuple[Grid, Grid], steps: tuple[int, ...]) -> Grid:
    """Smear noise along a direction field by averaging ever further apart (line integral convolution)."""
    rows, columns = np.mgrid[: noise.shape[0], : noise.shape[1]].astype(np.float32)
    for step in steps:
        total = np.asarray(2 * noise, np.float32)
        for sign in (-step, step):
            total += cv2.remap(
                noise, columns + sign * direction[0], rows + sign * direction[1], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )  # fmt: skip
        noise = np.asarray(total / 4, np.float32)
    return np.asarray(noise / noise.std(), np.float32)


def _through_jpeg(image: NDArray[np.uint8], quality: int = 90) -> NDArray[np.uint8]:
    """What a scanner's compression leaves of the picture."""
    done, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1], np.uint8)
