"""The spine, as code: slide → blocks → maps → instances → cells → settled cells. Read this first.

    plan = Plan.of(slide, model, region)            inference.plan: which blocks, and where
    for block in plan.blocks():
        image     = slide.read(block.field)         slides
        maps      = predict_field(image)            inference.predict, by a Runtime
        instances = representation.decode(maps)     representations (model.classifier: other classes)
        cells     = measure(instances)              inference.measure
        journal.append(cells)                       store.journal: on disk, survives a crash
    yield settle(journal)                           store.settle: each cell once, whatever the blocks

The command line, the viewer and the cluster call this and nothing beside it. What is held in memory is a block for each
worker, whatever the size of the slide; finished cells are on disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.blocks import Block
from histocyte.core.cells import Cells
from histocyte.core.errors import ResolutionError
from histocyte.core.instances import Instances, relabel_sequential
from histocyte.core.listener import SILENT, Listener, Stop, never
from histocyte.core.maps import split_maps
from histocyte.core.names import counted
from histocyte.inference.embed import FieldFeatures
from histocyte.inference.image import predict_image
from histocyte.inference.load import Model, load
from histocyte.inference.measure import measure
from histocyte.inference.parallel import work_through
from histocyte.inference.plan import Plan, Settings, check_resolution
from histocyte.inference.predict import predict_field
from histocyte.inference.runtime import features_of
from histocyte.model.zoo import DEFAULT_MODEL
from histocyte.slides.array_reader import open_array
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import SlideReader
from histocyte.slides.tissue import Region, find_tissue
from histocyte.store.journal import Journal, StoredBlock
from histocyte.store.settle import settle

__all__ = [
    "Plan",
    "Settings",
    "finish_blocks",
    "instances_on",
    "instances_with_vectors",
    "segment",
    "segment_block",
    "segment_image",
    "segment_slide",
    "settled",
]


def segment_slide(
    slide: SlideReader,
    model: Model,
    journal: Journal,
    *,
    region: Region | None = None,
    settings: Settings | None = None,
    workers: int | None = None,
    listener: Listener = SILENT,
    stop: Stop = never,
) -> Iterator[Cells]:
    """Find every cell on a slide.

    Args:
        slide: Open slide.
        model: Loaded model.
        journal: Where finished blocks go; blocks it already holds are not done again.
        region: Where to search; a cell is kept if its centre lies in it. Everywhere where None.
        settings: How the slide is cut.
        workers: Blocks under way at a time; as many as the runtime can use where None.
        listener: Is told of each block.
        stop: Looked at before each block.

    Yields:
        Cells in Hilbert order of their centres, level-0 px, a part at a time, once all blocks are done.

    Raises:
        ResolutionError: The slide is too coarse for the model.
        SlideError: A place on the slide cannot be read.
        DiskError: A block cannot be written.
        Stopped: Told to; the blocks done are in the journal.
    """
    plan = Plan.of(slide, model, region, settings)
    finish_blocks(plan, journal, workers=workers, listener=listener, stop=stop)
    yield from settled(plan, journal)


def finish_blocks(
    plan: Plan,
    journal: Journal,
    *,
    workers: int | None = None,
    name: str | None = None,
    listener: Listener = SILENT,
    stop: Stop = never,
) -> None:
    """Bring every wanted block that the journal does not hold yet from pixels to cells.

    Args:
        plan: What to search, with what.
        journal: Where finished blocks go.
        workers: Blocks under way at a time; as many as the runtime can use where None.
        name: What the listener is told of; the slide's own name where None.
        listener: Is told of each block.
        stop: Looked at before each block; those under way are then brought to their end.

    Raises:
        SlideError: A place on the slide cannot be read.
        DiskError: A block cannot be written.
        Stopped: Told to; the blocks done are in the journal.
    """
    name, blocks, done = name or plan.slide.name, plan.blocks(), journal.done()
    found = sum(_own_cells(plan, index, journal.read(index)) for index in done)

    def keep(block: Block, result: StoredBlock) -> str:
        nonlocal found
        journal.append(block.index, result.cells, result.in_band, result.stats)
        found += _own_cells(plan, block.index, result)
        return counted(found, "cell")

    work_through(
        [block for block in blocks if block.index not in done],
        lambda block: segment_block(plan, block),
        keep,
        total=len(blocks),
        name=name,
        slide=name,
        workers=workers or plan.model.runtime.parallel,
        note=counted(found, "cell"),
        listener=listener,
        stop=stop,
    )


def _own_cells(plan: Plan, index: int, stored: StoredBlock) -> int:
    """How many of a block's cells have their centre in its core; those beyond are the neighbours'."""
    return int((plan.grid.owner(stored.cells.xy * plan.scale) == index).sum())


def segment_block(plan: Plan, block: Block) -> StoredBlock:
    """One block from pixels to cells.

    Returns:
        The cells the block reports (its own and those in the band around it), which of them lie in the band, and what
        it took: seconds by stage, tiles, share of foreground.
    """
    model, mpp, region = plan.model, plan.model.spec.mpp, plan.region
    clock = [time.perf_counter()]
    image = plan.slide.read(block.field, mpp=mpp)
    clock.append(time.perf_counter())
    kept = plan.embeddings or model.classifier is not None
    features = FieldFeatures(features_of(model.runtime)) if kept else None
    maps = predict_field(
        image,
        model.runtime,
        channels=model.channels,
        tile_px=plan.layout.tile_px,
        margin_px=plan.layout.margin_px,
        batch=plan.layout.batch,
        wanted=plan.wanted_on(block.field),
        features=features,
    )
    clock.append(time.perf_counter())
    del image  # what is no longer needed goes before the next step takes its share
    instances, vectors = _instances(maps, features, model)
    del maps
    cells, in_band = measure(
        instances,
        block,
        plan.grid,
        mpp=mpp,
        slide_mpp=plan.slide.mpp,
        taxonomy=model.taxonomy,
        embeddings=vectors if plan.embeddings else None,
    )
    if region is not None:
        inside = region.contains(cells.xy)
        cells, in_band = cells.take(inside), in_band[inside]
    clock.append(time.perf_counter())
    seconds = dict(zip(("read_s", "forward_s", "decode_s"), map(float, np.diff(clock)), strict=True))
    foreground = float((instances.labels > 0).mean())
    return StoredBlock(cells, in_band, {**seconds, "pixels": float(block.core.area), "foreground": foreground})


def settled(plan: Plan, journal: Journal) -> Iterator[Cells]:
    """The cells of all blocks in a journal, each once, in Hilbert order; what `segment_slide` ends with."""
    origin = plan.slide.bounds.corner
    for part in settle(journal, plan.grid, scale=plan.scale):
        yield replace(part, origin=origin)


def segment(
    slide: str | Path | NDArray[np.uint8],
    *,
    model: str | Path | Model = DEFAULT_MODEL,
    mpp: float | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> Cells:
    """Find every cell on a slide or an image, in one line, all cells in memory.

    >>> import histocyte as hc
    >>> cells = hc.segment("slide.svs")                              # doctest: +SKIP
    >>> large = cells.take(cells.area_um2 > 100)                     # doctest: +SKIP

    Args:
        slide: A file, a DICOM folder, or an (H, W, 3) uint8 RGB array.
        model: A bundled model's name, a model file, or a loaded model.
        mpp: Resolution in µm/px, where the file does not state it; always needed for an array.
        listener: Is told of each block; nobody where None.
        stop: Asked before each block whether to end there; never where None.

    Raises:
        ResolutionError: The resolution is missing, absurd, or too coarse for the model.
        SlideError: The file cannot be read.
        Stopped: `stop` said so; nothing is kept (`segment_to_folder` goes on).
    """
    loaded = model if isinstance(model, Model) else load(model)
    if isinstance(slide, np.ndarray) and mpp is None:
        raise ResolutionError("An array does not state its resolution: pass mpp, e.g. segment(image, mpp=0.25).")
    with _opened(slide, mpp) as opened, _scratch_journal() as journal:
        region = None if isinstance(slide, np.ndarray) else find_tissue(opened).searched
        parts = list(
            segment_slide(opened, loaded, journal, region=region, listener=listener or SILENT, stop=stop or never)
        )
    return Cells.concatenate(parts) if parts else Cells.empty(loaded.taxonomy, opened.mpp, opened.bounds.corner)


def _opened(slide: str | Path | NDArray[np.uint8], mpp: float | None) -> SlideReader:
    if not isinstance(slide, np.ndarray):
        return open_slide(slide, mpp=mpp)
    assert mpp is not None
    return open_array(slide, mpp=mpp)


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
    return _on_image(image, model, mpp, vectors=False)[0]


def instances_with_vectors(
    image: NDArray[np.uint8], model: Model, *, mpp: float
) -> tuple[Instances, NDArray[np.float32]]:
    """`instances_on`, and the (N, D) vector of each instance.

    Raises:
        InputError: The model's runtime gives no vectors.
    """
    found, vectors = _on_image(image, model, mpp, vectors=True)
    assert vectors is not None
    return found, vectors


def _instances(
    maps: NDArray[np.float16], features: FieldFeatures | None, model: Model
) -> tuple[Instances, NDArray[np.float32] | None]:
    """From the maps (C, H, W) of a field to its instances, with the classes of the model's classifier if it has one.

    Returns:
        The instances, and the (N, D) vector of each where there are features.
    """
    found = model.representation.decode(split_maps(maps, model.maps))
    vectors = None if features is None else features.pool(found.labels)
    if model.classifier is not None:
        assert vectors is not None
        found = replace(found, class_probabilities=model.classifier.probabilities(vectors))
    return found, vectors


def _on_image(
    image: NDArray[np.uint8], model: Model, mpp: float, *, vectors: bool
) -> tuple[Instances, NDArray[np.float32] | None]:
    """Instances in the image's own pixels, and their vectors where wanted or needed to classify them."""
    check_resolution(mpp, model.spec.mpp)
    seen = predict_image(
        image,
        model.runtime,
        model.spec,
        mpp=mpp,
        channels=model.channels,
        features=vectors or model.classifier is not None,
    )
    found, own_vectors = _instances(seen.maps, seen.features, model)
    if image.shape == seen.pixels.shape:
        return found, own_vectors
    height, width = image.shape[:2]
    resized = cv2.resize(found.labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    labels, kept = relabel_sequential(np.asarray(resized, np.int32))
    rows = kept[1:] - 1
    kept_vectors = None if own_vectors is None else own_vectors[rows]
    return Instances(labels, found.class_probabilities[rows], found.scores[rows]), kept_vectors


@contextmanager
def _scratch_journal() -> Iterator[Journal]:
    """A journal that goes away with the call."""
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder), signature={}) as journal:
        yield journal
