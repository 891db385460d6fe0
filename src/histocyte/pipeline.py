"""The spine, as code: slide → blocks → maps → instances → cells → settled cells. Read this first.

    for block in wanted blocks of the slide:        core.blocks, slides.tissue
        image     = slide.read(block.field)         slides
        maps      = predict_field(image)            inference.predict, by a Runtime
        instances = representation.decode(maps)     representations
        cells     = measure(instances)              inference.measure
        journal.append(cells)                       store.journal: on disk, survives a crash
    yield settle(journal)                           store.settle: each cell once, whatever the blocks

The command line, the viewer and the cluster call this and nothing beside it. What is held in memory is a block for each
worker, whatever the size of the slide; finished cells are on disk.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from histocyte.core.blocks import Block, BlockGrid
from histocyte.core.cells import Cells
from histocyte.core.errors import ResolutionError
from histocyte.core.geometry import Box
from histocyte.core.instances import Instances, relabel_sequential
from histocyte.core.maps import split_maps
from histocyte.core.version import __version__
from histocyte.inference.load import Model, load
from histocyte.inference.measure import measure
from histocyte.inference.parallel import map_unordered
from histocyte.inference.predict import predict_field
from histocyte.model.zoo import DEFAULT_MODEL
from histocyte.slides.array_reader import open_array
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import SlideReader, working_size
from histocyte.slides.tissue import Region, find_tissue
from histocyte.store.journal import Journal
from histocyte.store.settle import settle

__all__ = [
    "Progress",
    "Settings",
    "check_resolution",
    "instances_on",
    "segment",
    "segment_image",
    "segment_slide",
    "settled",
    "wanted_blocks",
    "signature",
]

MAX_UPSAMPLING = 4.5
"""On a slide this many times coarser than the model a nucleus is still a few px; beyond, there is nothing to find."""

Progress = Callable[[int, int, int], None]
"""Called after each block: blocks done, blocks in all, cells found so far."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the slide is cut; none of it changes the cells, but for a network whose context is wider than the margin.

    Attributes:
        block_px: Side of a block's core, working px.
        halo_px: What is decoded around it. A nucleus up to twice this wide is seen whole.
        band_px: Reach of the settlement along block borders.
        tile_px: Side of the network's tiles; the model's own where None.
        margin_px: Margin of a tile; the model's own where None.
        batch: Tiles predicted together.
    """

    block_px: int = 2048
    halo_px: int = 64
    band_px: int = 12
    tile_px: int | None = None
    margin_px: int | None = None
    batch: int = 1


def segment_slide(
    slide: SlideReader,
    model: Model,
    journal: Journal,
    *,
    region: Region | None = None,
    settings: Settings | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Cells]:
    """Find every cell on a slide.

    Args:
        slide: Open slide.
        model: Loaded model.
        journal: Where finished blocks go; blocks it already holds are not done again.
        region: Where to search; a cell is kept if its centre lies in it. Everywhere where None.
        settings: How the slide is cut.
        workers: Blocks under way at a time; as many as the runtime can use where None.
        progress: Called after each block.

    Yields:
        Cells in Hilbert order of their centres, level-0 px, a part at a time, once all blocks are done.

    Raises:
        ResolutionError: The slide is too coarse for the model.
        SlideError: A place on the slide cannot be read.
        DiskError: A block cannot be written.
    """
    settings = settings or Settings()
    check_resolution(slide.mpp, model.spec.mpp)
    grid = _grid(slide, model, settings)
    blocks = wanted_blocks(slide, model, grid, region)
    done = journal.done()
    found = sum(len(journal.read(i).cells) for i in done) if progress is not None else 0
    todo = [b for b in blocks if b.index not in done]
    work = map_unordered(
        lambda block: segment_block(slide, model, grid, block, region, settings),
        todo,
        workers=workers or model.runtime.parallel,
    )
    for count, (block, cells, in_band, stats) in enumerate(work, start=1 + len(blocks) - len(todo)):
        journal.append(block.index, cells, in_band, stats)
        found += len(cells)
        if progress is not None:
            progress(count, len(blocks), found)
    yield from settled(slide, model, journal, settings)


def wanted_blocks(slide: SlideReader, model: Model, grid: BlockGrid, region: Region | None) -> list[Block]:
    """The blocks that meet the region, those with most of it first.

    With the largest pieces of work first and the smallest last, all workers end at about the same time.
    """
    if region is None:
        return list(grid)
    cores = shapely.box(*np.array([_level_0(b.core, slide, model) for b in grid]).T)
    shares = shapely.area(shapely.intersection(region.geometry, cores))
    meets = shapely.intersects(region.geometry, cores)
    return [grid[int(i)] for i in np.argsort(-shares, kind="stable") if meets[i]]


def settled(slide: SlideReader, model: Model, journal: Journal, settings: Settings | None = None) -> Iterator[Cells]:
    """The cells of all blocks in a journal, each once, in Hilbert order; what `segment_slide` ends with."""
    grid = _grid(slide, model, settings or Settings())
    return settle(journal, grid, scale=slide.mpp / model.spec.mpp)


def _grid(slide: SlideReader, model: Model, settings: Settings) -> BlockGrid:
    size = working_size(slide, model.spec.mpp)
    return BlockGrid(size, settings.block_px, settings.halo_px, settings.band_px)


def segment_block(
    slide: SlideReader, model: Model, grid: BlockGrid, block: Block, region: Region | None, settings: Settings
) -> tuple[Block, Cells, NDArray[np.bool_], dict[str, float]]:
    """One block from pixels to cells.

    Returns:
        The block, the cells it reports (its own and those in the band around it), (N,) which of them lie in the
        band, and what it took: seconds by stage, tiles, share of foreground.
    """
    mpp = model.spec.mpp
    clock = [time.perf_counter()]
    image = slide.read(block.field, mpp=mpp)
    clock.append(time.perf_counter())
    maps = predict_field(
        image,
        model.runtime,
        channels=model.channels,
        tile_px=settings.tile_px or model.spec.tile_px,
        margin_px=model.spec.margin_px if settings.margin_px is None else settings.margin_px,
        batch=settings.batch,
        wanted=None
        if region is None
        else lambda box: region.intersects(_level_0(box.shift(block.field.x, block.field.y), slide, model)),
    )
    clock.append(time.perf_counter())
    del image  # what is no longer needed goes before the next step takes its share
    instances = model.representation.decode(split_maps(maps, model.maps))
    del maps
    cells, in_band = measure(instances, block, grid, mpp=mpp, slide_mpp=slide.mpp, taxonomy=model.taxonomy)
    if region is not None:
        inside = region.contains(cells.xy)
        cells, in_band = cells.take(inside), in_band[inside]
    clock.append(time.perf_counter())
    read, forward, decode = np.diff(clock)
    stats: dict[str, float] = {
        "read_s": float(read),
        "forward_s": float(forward),
        "decode_s": float(decode),
        "pixels": float(block.core.area),
        "foreground": float((instances.labels > 0).mean()),
    }
    return block, cells, in_band, stats


def segment(
    slide: str | Path | NDArray[np.uint8], *, model: str | Path | Model = DEFAULT_MODEL, mpp: float | None = None
) -> Cells:
    """Find every cell on a slide or an image, in one line, all cells in memory.

    Args:
        slide: A file, a DICOM folder, or an (H, W, 3) uint8 RGB array.
        model: A bundled model's name, a model file, or a loaded model.
        mpp: Resolution in µm/px, where the file does not state it; always needed for an array.

    Raises:
        ResolutionError: The resolution is missing, absurd, or too coarse for the model.
        SlideError: The file cannot be read.
    """
    loaded = model if isinstance(model, Model) else load(model)
    if isinstance(slide, np.ndarray):
        if mpp is None:
            raise ResolutionError("An array does not state its resolution: pass mpp, e.g. segment(image, mpp=0.25).")
        return segment_image(slide, loaded, mpp=mpp)
    with open_slide(slide, mpp=mpp) as opened, _scratch_journal() as journal:
        parts = list(segment_slide(opened, loaded, journal, region=find_tissue(opened).region))
    return Cells.concatenate(parts) if parts else Cells.empty(loaded.taxonomy, opened.mpp)


def segment_image(image: NDArray[np.uint8], model: Model, *, mpp: float, settings: Settings | None = None) -> Cells:
    """Find every cell on an image in memory.

    Args:
        image: (H, W, 3) uint8 RGB.
        model: Loaded model.
        mpp: Resolution of the image, µm/px.
        settings: How it is cut.

    Returns:
        Cells in px of the image.

    Raises:
        ResolutionError: `mpp` is absurd or too coarse for the model.
    """
    with open_array(image, mpp=mpp) as slide, _scratch_journal() as journal:
        parts = list(segment_slide(slide, model, journal, settings=settings))
    return Cells.concatenate(parts) if parts else Cells.empty(model.taxonomy, mpp)


def instances_on(image: NDArray[np.uint8], model: Model, *, mpp: float) -> Instances:
    """Instances on one image, as a label map in the image's own pixels; what evaluation scores.

    The same reading, predicting and decoding as `segment_image`, the whole image being one block.

    Args:
        image: (H, W, 3) uint8 RGB.
        model: Loaded model.
        mpp: Resolution of the image, µm/px.
    """
    check_resolution(mpp, model.spec.mpp)
    with open_array(image, mpp=mpp) as slide:
        size = working_size(slide, model.spec.mpp)
        pixels = slide.read(Box(0, 0, *size), mpp=model.spec.mpp)
    maps = predict_field(
        pixels,
        model.runtime,
        channels=model.channels,
        tile_px=model.spec.tile_px,
        margin_px=model.spec.margin_px,
    )
    found = model.representation.decode(split_maps(maps, model.maps))
    height, width = image.shape[:2]
    if (width, height) == size:
        return found
    resized = cv2.resize(found.labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    labels, kept = relabel_sequential(np.asarray(resized, np.int32))
    return Instances(labels, found.class_probabilities[kept[1:] - 1], found.scores[kept[1:] - 1])


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


def signature(slide: SlideReader, model: Model, region: Region | None, settings: Settings) -> dict[str, object]:
    """Everything that decides the result: a journal with another signature is of no use."""
    return {
        "histocyte": __version__,
        "slide": slide.fingerprint,
        "mpp": slide.mpp,
        "model": model.spec.name,
        "model_sha256": model.sha256,
        "runtime": model.runtime.name,
        "region": None if region is None else hashlib.sha256(region.geometry.wkb).hexdigest(),
        "settings": asdict(settings),
    }


@contextmanager
def _scratch_journal() -> Iterator[Journal]:
    """A journal that goes away with the call."""
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder), signature={}) as journal:
        yield journal


def _level_0(box: Box, slide: SlideReader, model: Model) -> tuple[float, float, float, float]:
    """A box of the working frame as (xmin, ymin, xmax, ymax) in level-0 px."""
    scale = model.spec.mpp / slide.mpp
    return box.x * scale, box.y * scale, box.right * scale, box.bottom * scale
