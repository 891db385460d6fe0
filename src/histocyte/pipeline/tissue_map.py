"""The tissue of a whole slide: maps blended over all of it at a coarse resolution, on disk, and decoded once.

    for block in blocks:            several at a time, each finished one on disk (`store.canvas`)
        for tile on the block:      tiles lie on one grid of the slide, whatever the blocks
            maps = network(tile)    averaged over squares of `factor` px, faded towards the tile's border
        canvas.write(block, their weighted mean)
    for strip of the canvas:        `core.coverage` cuts out what is of one class
    areas = joined(strips)          a gland wider than a block is one polygon

What is held is the tiles of a block, then a strip of the canvas, and polygons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from histocyte.core.blocks import BlockGrid
from histocyte.core.coverage import Piece, joined, pieces_of
from histocyte.core.geometry import Box
from histocyte.core.listener import SILENT, Listener, Stop, never
from histocyte.core.maps import split_maps
from histocyte.inference.load import Model
from histocyte.inference.parallel import work_through
from histocyte.inference.plan import check_resolution, signature_of
from histocyte.pipeline.regions import check_of_tissue, class_map
from histocyte.slides.protocol import SlideReader, working_size
from histocyte.slides.region import Region
from histocyte.store.canvas import Canvas

__all__ = ["Area", "TissuePlan", "TissueSettings", "areas_of", "finish_canvas"]

CANVAS_UM = 2.0
"""Px of the canvas are no wider: a third of a nucleus, much finer than the border of any kind of tissue is known."""
_FULL = 255
"""A probability of 1 on the canvas."""


@dataclass(frozen=True, slots=True)
class TissueSettings:
    """What may be chosen.

    Attributes:
        block_px: Side of a block, px of the canvas; it does not change the result.
        batch: Tiles predicted together; nor does this.
        min_area_um2: Smaller regions are none, and smaller holes are filled.
        smoothing_um: Standard deviation of the smoothing of probabilities.
        simplify_um: How far outlines may be from the stairs of the canvas' pixels.
    """

    block_px: int = 1024
    batch: int = 1
    min_area_um2: float = 2000.0
    smoothing_um: float = 4.0
    simplify_um: float = 3.0


@dataclass(frozen=True, slots=True)
class Area:
    """A region of one class.

    Attributes:
        kind: Its class, from 1.
        polygon: With holes, level-0 px.
        probability: Mean probability of the class over it.
    """

    kind: int
    polygon: BaseGeometry
    probability: float


@dataclass(frozen=True)
class TissuePlan:
    """A slide, a model of tissue, and how the one is cut for the other.

    Attributes:
        slide: Open slide.
        model: Loaded model of tissue.
        region: Where to look; everywhere where None.
        settings: What was chosen.
    """

    slide: SlideReader
    model: Model
    region: Region | None
    settings: TissueSettings

    def __post_init__(self) -> None:
        check_of_tissue(self.model)
        check_resolution(self.slide.mpp, self.model.spec.mpp)

    @cached_property
    def factor(self) -> int:
        """Px of the model to a px of the canvas, along a side."""
        spec, factor = self.model.spec, 1
        while spec.mpp * factor * 2 <= CANVAS_UM and not (spec.tile_px | spec.margin_px) % (factor * 2):
            factor *= 2
        return factor

    @property
    def mpp(self) -> float:
        """Resolution of the canvas, µm/px."""
        return self.model.spec.mpp * self.factor

    @property
    def scale(self) -> float:
        """Level-0 px to a px of the canvas."""
        return self.mpp / self.slide.mpp

    @cached_property
    def grid(self) -> BlockGrid:
        """The blocks, in px of the canvas."""
        width, height = working_size(self.slide, self.model.spec.mpp)
        size = -(-width // self.factor), -(-height // self.factor)
        return BlockGrid(size, self.settings.block_px, halo_px=0, band_px=0)

    def blocks(self) -> list[int]:
        """Those that meet the region."""
        return [b.index for b in self.grid if self.meets(b.core)]

    def meets(self, box: Box) -> bool:
        """Whether a box, px of the canvas, has something to look at."""
        corners = (box.x * self.scale, box.y * self.scale, box.right * self.scale, box.bottom * self.scale)
        return self.region is None or self.region.intersects(corners)

    def signature(self) -> dict[str, object]:
        """Everything that decides the result."""
        chosen = {name: value for name, value in asdict(self.settings).items() if name != "batch"}
        spec = self.model.spec
        return {
            **signature_of(self.slide, self.model, self.region),
            "views": self.model.views,
            "tile_px": spec.tile_px,
            "margin_px": spec.margin_px,
            **chosen,
        }


def finish_canvas(
    plan: TissuePlan,
    canvas: Canvas,
    *,
    workers: int | None = None,
    name: str | None = None,
    listener: Listener = SILENT,
    stop: Stop = never,
) -> None:
    """Bring every wanted block that the canvas does not hold yet from pixels to probabilities.

    Args:
        plan: What to look at, with what.
        canvas: Where finished blocks go.
        workers: Blocks under way at a time; as many as the runtime can use where None.
        name: What the listener is told of.
        listener: Is told of each block.
        stop: Looked at before each block; those under way are then brought to their end.

    Raises:
        SlideError: A place on the slide cannot be read.
        DiskError: A block cannot be written.
        Stopped: Told to; the blocks done are on the canvas.
    """
    name, wanted, done = name or plan.slide.name, plan.blocks(), canvas.done()
    work_through(
        [index for index in wanted if index not in done],
        lambda index: _block(plan, index),
        canvas.write,
        total=len(wanted),
        name=f"{name}, tissue",
        slide=name,
        workers=workers or plan.model.runtime.parallel,
        listener=listener,
        stop=stop,
    )


def _block(plan: TissuePlan, index: int) -> NDArray[np.uint8]:
    """(C, h, w) probabilities of a block, 255 for 1; 0 where there is nothing to look at."""
    spec, core, factor = plan.model.spec, plan.grid[index].core, plan.factor
    side, overlap = spec.tile_px // factor, 2 * spec.margin_px // factor
    step = side - overlap
    window = _window(side, overlap)
    sums = np.zeros((plan.model.channels, core.height, core.width), np.float32)
    weights = np.zeros((core.height, core.width), np.float32)
    tiles = [
        Box(x, y, side, side)
        for y in _starts(core.y, core.bottom, side, step)
        for x in _starts(core.x, core.right, side, step)
        if plan.meets(Box(x, y, side, side))
    ]
    for start in range(0, len(tiles), plan.settings.batch):
        some = tiles[start : start + plan.settings.batch]
        boxes = [Box(t.x * factor, t.y * factor, spec.tile_px, spec.tile_px) for t in some]
        pixels = np.stack([plan.slide.read(box, mpp=spec.mpp) for box in boxes])
        for tile, maps in zip(some, plan.model.runtime.predict(pixels), strict=True):
            types = np.asarray(split_maps(maps, plan.model.maps)["types"], np.float32)
            coarse = types.reshape(len(types), side, factor, side, factor).mean(axis=(2, 4))
            x, y = max(core.x, tile.x), max(core.y, tile.y)
            right, bottom = min(core.right, tile.right), min(core.bottom, tile.bottom)
            here = slice(y - core.y, bottom - core.y), slice(x - core.x, right - core.x)
            there = slice(y - tile.y, bottom - tile.y), slice(x - tile.x, right - tile.x)
            sums[:, *here] += coarse[:, *there] * window[there]
            weights[here] += window[there]
    return np.rint(np.nan_to_num(sums / np.maximum(weights, 1e-6)).clip(0, 1) * _FULL).astype(np.uint8)


def _starts(first: int, last: int, side: int, step: int) -> range:
    """Where the tiles of the slide's grid that touch [first, last) begin; the grid begins beyond the slide's corner."""
    offset = -(side - step) // 2
    return range(offset + max(0, (first - side - offset) // step + 1) * step, last, step)


def _window(side: int, overlap: int) -> NDArray[np.float32]:
    """(side, side) weight of a tile's px: 1 within, fading (raised cosine) over what it shares with the next."""
    line = np.ones(side)
    if overlap:
        fade = np.sin(0.5 * np.pi * (np.arange(overlap) + 0.5) / overlap) ** 2
        line[:overlap] *= fade
        line[side - overlap :] *= fade[::-1]
    return np.outer(line, line).astype(np.float32)


def areas_of(plan: TissuePlan, canvas: Canvas) -> list[Area]:
    """The regions on a canvas that is done, in the order of their classes and places."""
    least = plan.settings.min_area_um2 / plan.mpp**2
    found = joined(_pieces(plan, canvas), min_area_px=least, simplify_px=plan.settings.simplify_um / plan.mpp)
    return [
        Area(kind, shapely.transform(polygon, lambda xy: xy * plan.scale), probability)
        for kind, polygon, probability in found
    ]


def _pieces(plan: TissuePlan, canvas: Canvas) -> Iterator[Piece]:
    """What is of one class in each strip of the canvas."""
    sigma = plan.settings.smoothing_um / plan.mpp
    reach = int(np.ceil(3 * sigma)) if sigma > 0 else 0
    rows, columns = canvas.grid.shape
    nothing = np.zeros((canvas.channels, 0, canvas.grid.size[0]), np.uint8)
    strips = {-1: nothing, rows: nothing}
    for row in range(rows):
        strips |= {r: _looked_at(plan, canvas, r) for r in (row, row + 1) if r not in strips}
        above, here, below = (strips[r] for r in (row - 1, row, row + 1))
        top, bottom = min(reach, above.shape[1]), min(reach, below.shape[1])
        joint = np.concatenate([above[:, above.shape[1] - top :], here, below[:, :bottom]], axis=1)
        smooth = joint.astype(np.float32)
        if sigma > 0:
            size = 2 * reach + 1
            smooth = np.stack(
                [cv2.GaussianBlur(c, (size, size), sigma, borderType=cv2.BORDER_CONSTANT) for c in smooth]
            )
        smooth = smooth[:, top : top + here.shape[1]]
        kinds = class_map(smooth, background=plan.model.spec.has_background)
        kinds[~here.any(axis=0)] = 0
        channel = np.maximum(kinds.astype(np.int64) - (not plan.model.spec.has_background), 0)
        certain = np.take_along_axis(here, channel[None], axis=0)[0] / _FULL
        yield from pieces_of(kinds, certain, row=canvas.grid[row * columns].core.y)
        strips.pop(row - 1)


def _looked_at(plan: TissuePlan, canvas: Canvas, row: int) -> NDArray[np.uint8]:
    """(C, h, W) a strip, 0 in the pixels whose middle lies where nothing was looked for."""
    strip = canvas.strip(row)
    if plan.region is not None:
        rows, columns = np.nonzero(strip.any(axis=0))
        y = canvas.grid[row * canvas.grid.shape[1]].core.y
        away = ~plan.region.contains((np.stack([columns, rows + y], axis=1) + 0.5) * plan.scale)
        strip[:, rows[away], columns[away]] = 0
    return strip
