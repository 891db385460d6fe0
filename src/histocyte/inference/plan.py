"""How a slide is cut for a model: into which blocks, and where they lie on the slide."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import shapely

from histocyte.core.blocks import Block, BlockGrid
from histocyte.core.errors import InputError, ResolutionError
from histocyte.core.geometry import Box
from histocyte.core.version import __version__
from histocyte.inference.load import Model
from histocyte.inference.predict import MAP_DTYPE
from histocyte.inference.runtime import features_of
from histocyte.slides.protocol import SlideReader, working_size
from histocyte.slides.region import Region

__all__ = ["Layout", "Plan", "Settings", "check_resolution"]

MAX_UPSAMPLING = 4.5
"""On a slide this many times coarser than the model a nucleus is still a few px; beyond, there is nothing to find."""

MAX_FIELD_PX = 1536
"""Side of a block's field: large enough that its halo is a small part of it, and no larger."""
MAX_FIELD_BYTES = 256 * 2**20
"""What the maps of a field and the scratch of their decoding may take, for each worker."""
SCRATCH_BYTES = 26
"""Per pixel while maps are decoded: five label maps and what is between them, and the image before."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the slide is cut into blocks; none of it changes the cells. How blocks are cut into tiles, a model says.

    Attributes:
        block_px: Side of a block's core, working px; as large as is good for the model where None.
        halo_px: What is decoded around it. A nucleus up to twice this wide is seen whole.
        band_px: Reach of the settlement along block borders.
        batch: Tiles predicted together.
        embeddings: Give each cell a vector too (`inference.embed`).
    """

    block_px: int | None = None
    halo_px: int = 64
    band_px: int = 12
    batch: int = 1
    embeddings: bool = False

    def for_model(self, model: Model) -> Layout:
        """The same with nothing left open; the same for every run of a model, whatever the machine."""
        tile_px, margin_px = model.spec.tile_px, model.spec.margin_px
        block_px = self.block_px or fitting_block_px(model.channels, tile_px, margin_px, self.halo_px)
        return Layout(block_px, self.halo_px, self.band_px, tile_px, margin_px, self.batch)


@dataclass(frozen=True, slots=True)
class Layout:
    """`Settings` with nothing left open."""

    block_px: int
    halo_px: int
    band_px: int
    tile_px: int
    margin_px: int
    batch: int


def fitting_block_px(channels: int, tile_px: int, margin_px: int, halo_px: int) -> int:
    """Side of a block's core such that its field is full tiles, as many as its maps leave memory for.

    >>> [fitting_block_px(channels, tile_px=768, margin_px=32, halo_px=64) for channels in (8, 40, 200)]
    [1344, 1344, 640]
    """
    per_pixel = channels * np.dtype(MAP_DTYPE).itemsize + SCRATCH_BYTES
    most = min(MAX_FIELD_PX, math.isqrt(MAX_FIELD_BYTES // per_pixel))
    step = tile_px - 2 * margin_px
    beyond_first = max(0, (most - tile_px) // step) if step > 0 else 0
    return max(tile_px // 2, tile_px + beyond_first * step - 2 * halo_px)


def signature_of(slide: SlideReader, model: Model, region: Region | None) -> dict[str, object]:
    """What decides the result of any run of a model over a slide; a plan adds its settings."""
    return {
        "histocyte": __version__,
        "slide": slide.fingerprint,
        "mpp": slide.mpp,
        "model": model.spec.name,
        "model_sha256": model.sha256,
        "runtime": model.runtime.name,
        "precision": model.runtime.precision,  # where there is a choice
        "region": None if region is None else hashlib.sha256(region.geometry.wkb).hexdigest(),
    }


@dataclass(frozen=True)
class Plan:
    """A slide, a model, and how the one is cut for the other.

    Attributes:
        slide: Open slide.
        model: Loaded model.
        region: Where to search; everywhere where None.
        layout: Sizes of blocks and tiles.
        embeddings: Whether each cell gets a vector.
    """

    slide: SlideReader
    model: Model
    region: Region | None
    layout: Layout
    embeddings: bool = False

    @classmethod
    def of(
        cls, slide: SlideReader, model: Model, region: Region | None = None, settings: Settings | None = None
    ) -> Plan:
        """The plan, with what `settings` leaves open filled in.

        Raises:
            ResolutionError: The slide is too coarse for the model.
            InputError: The model finds no cells; or vectors are asked for or a classifier needs them, and the runtime
                gives none.
        """
        if model.spec.of_tissue:
            raise InputError(
                f"'{model.spec.name}' tells kinds of tissue apart and finds no cells. Use it with: histocyte tissue "
                "SLIDE --model FILE. Models of cells: histocyte models list."
            )
        check_resolution(slide.mpp, model.spec.mpp)
        settings = settings or Settings()
        if settings.embeddings or model.classifier is not None:
            features_of(model.runtime)
        return cls(slide, model, region, settings.for_model(model), settings.embeddings)

    @property
    def scale(self) -> float:
        """Working px per level-0 px."""
        return self.slide.mpp / self.model.spec.mpp

    @cached_property
    def grid(self) -> BlockGrid:
        """All blocks of the slide."""
        size = working_size(self.slide, self.model.spec.mpp)
        return BlockGrid(size, self.layout.block_px, self.layout.halo_px, self.layout.band_px)

    def blocks(self) -> list[Block]:
        """The blocks that meet the region, those with most of it first.

        With the largest pieces of work first and the smallest last, all workers end at about the same time.
        """
        if self.region is None:
            return list(self.grid)
        cores = shapely.box(*np.array([self._level_0(b.core) for b in self.grid]).T)
        shares = shapely.area(shapely.intersection(self.region.geometry, cores))
        meets = shapely.intersects(self.region.geometry, cores)
        return [self.grid[int(i)] for i in np.argsort(-shares, kind="stable") if meets[i]]

    def wanted_on(self, field: Box) -> Callable[[Box], bool] | None:
        """Whether a box, in px of a block's field, meets the region; None where everything is wanted."""
        region = self.region
        return None if region is None else lambda box: region.intersects(self._level_0(box.shift(field.x, field.y)))

    def signature(self) -> dict[str, object]:
        """Everything that decides the result: a journal with another signature is of no use."""
        return {
            **signature_of(self.slide, self.model, self.region),
            "classifier": None if self.model.classifier is None else self.model.classifier.sha256,
            "settings": asdict(self.layout),
            **({"embeddings": True} if self.embeddings else {}),
            **({"views": self.model.views} if self.model.views > 1 else {}),
        }

    def _level_0(self, box: Box) -> tuple[float, float, float, float]:
        """A box of the working frame as (xmin, ymin, xmax, ymax) in level-0 px."""
        return box.x / self.scale, box.y / self.scale, box.right / self.scale, box.bottom / self.scale


def check_resolution(slide_mpp: float, model_mpp: float) -> None:
    """Refuse a slide that is too coarse for a model.

    Raises:
        ResolutionError: More than `MAX_UPSAMPLING` times coarser.
    """
    if slide_mpp > model_mpp * MAX_UPSAMPLING:
        raise ResolutionError(
            f"The slide has {slide_mpp:g} µm/px at its finest and the model works at {model_mpp:g} µm/px: at more than "
            f"{model_mpp * MAX_UPSAMPLING:g} µm/px cells are too few pixels to be told apart. Scan the slide finer, or "
            "pass the true resolution with --mpp if the file states it wrongly."
        )
