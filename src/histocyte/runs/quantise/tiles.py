"""Tiles of tissue that ranges of 8-bit layers are measured on (`model.quantise`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import Box
from histocyte.datasets.folder import image_resolution
from histocyte.inference.plan import check_resolution
from histocyte.slides.listing import list_slides
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import SlideReader, working_size
from histocyte.slides.tissue import find_tissue

__all__ = ["CalibrationTiles", "calibration_tiles", "check_calibration"]

TILE_PX = 256
"""Small, so that a few hundred see much of the tissue; ranges do not depend on a tile's side."""
_LEAST_TISSUE = 0.5
"""Share of a tile that must be tissue."""
_MOST_CHECKED = 300
"""Files opened beforehand."""
_LOOKS = 50
"""Places looked at for each tile that is wanted, before a slide is left."""


@dataclass(frozen=True, slots=True)
class CalibrationTiles:
    """Tiles, and what is to be said of them.

    Attributes:
        tiles: (TILE_PX, TILE_PX, 3) uint8 RGB at the model's resolution.
        slides: How many slides or images they come from.
        sha256: Over their pixels, in order.
    """

    tiles: tuple[NDArray[np.uint8], ...]
    slides: int
    sha256: str


def calibration_tiles(
    paths: Sequence[str | Path],
    *,
    model_mpp: float,
    count: int = 300,
    tile_px: int = TILE_PX,
    mpp: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrationTiles:
    """Tiles of tissue, as many from each slide, at places drawn at random.

    Args:
        paths: Slides, images, or folders of them.
        model_mpp: Resolution of the tiles, µm/px.
        count: How many; fewer where there is too little tissue.
        tile_px: Their side.
        mpp: Resolution of files that do not state it; known data sets (`datasets.cards`) need none.
        seed: The same seed gives the same tiles.
        progress: Called with slides read and slides in all.

    Raises:
        InputError: No slide, or no tissue on any.
        ResolutionError: A resolution that is missing, or too coarse for the model.
        SlideError: A slide cannot be read.
    """
    slides, rng = list_slides(paths), np.random.default_rng(seed)
    if len(slides) > count:
        slides = [slides[int(i)] for i in sorted(rng.choice(len(slides), count, replace=False))]
    tiles: list[NDArray[np.uint8]] = []
    used = 0
    for number, path in enumerate(slides):
        wanted = -(-(count - len(tiles)) // (len(slides) - number))
        with _open(path, mpp) as slide:
            check_resolution(slide.mpp, model_mpp)
            found = list(_tiles_of(slide, wanted, model_mpp, tile_px, rng))
        tiles += found
        used += bool(found)
        if progress is not None:
            progress(number + 1, len(slides))
    if not tiles:
        raise InputError(
            f"No tissue was found on {_named(paths)}: the ranges need tiles of the kind the model will see."
        )
    digest = hashlib.sha256()
    for tile in tiles:
        digest.update(tile.tobytes())
    return CalibrationTiles(tuple(tiles), used, digest.hexdigest())


def check_calibration(paths: Sequence[str | Path], *, model_mpp: float, mpp: float | None = None) -> None:
    """See that slides and images can be opened and have a resolution, before minutes are spent on the model.

    Raises:
        InputError: No slide.
        ResolutionError: A resolution that is missing, or too coarse for the model.
        SlideError: A slide cannot be read.
    """
    for path in list_slides(paths)[:_MOST_CHECKED]:
        with _open(path, mpp) as slide:
            check_resolution(slide.mpp, model_mpp)


def _tiles_of(
    slide: SlideReader, wanted: int, mpp: float, tile_px: int, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    region = find_tissue(slide).region
    if region.is_empty or not wanted:
        return
    width, height = working_size(slide, mpp)
    scale = slide.mpp / mpp
    xmin, ymin, xmax, ymax = (v * scale for v in region.bounds)
    low = np.array([max(0, min(int(xmin), width - tile_px)), max(0, min(int(ymin), height - tile_px))])
    high = np.maximum(low, np.array([int(xmax), int(ymax)]) - tile_px)  # one place alone on a small image
    steps = (np.arange(4) + 0.5) / 4 * tile_px
    inner = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)  # sixteen points of a tile
    given = 0
    for _ in range(_LOOKS * wanted):
        corner = rng.integers(low, high + 1)
        if region.contains((corner + inner) / scale).mean() < _LEAST_TISSUE:
            continue
        yield slide.read(Box(int(corner[0]), int(corner[1]), tile_px, tile_px), mpp=mpp)
        given += 1
        if given == wanted:
            return


def _open(path: Path, mpp: float | None) -> SlideReader:
    return open_slide(path, mpp=image_resolution(path) if mpp is None else mpp)


def _named(paths: Sequence[str | Path]) -> str:
    return ", ".join(f"'{path}'" for path in paths)
