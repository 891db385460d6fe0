"""What a teacher is asked about: labelled images, images without labels, and places on whole slides."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import Box
from histocyte.datasets.sample import Sample
from histocyte.datasets.unlabelled import UnlabelledImage
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import working_size
from histocyte.slides.tissue import find_tissue

__all__ = ["SLIDE_FIELD_PX", "Field", "image_field", "labelled_field", "slide_fields"]

SLIDE_FIELD_PX = 640
"""Side of a place on a slide: many times what the network looks at around a pixel, so that little of it lacks context,
and small enough that places come from all over the slide."""


@dataclass(frozen=True, slots=True)
class Field:
    """An image of any origin.

    Attributes:
        source: Data set, folder or slide.
        name: Within its source.
        mpp: µm per px.
        size: Height and width, px.
        sha256: SHA-256 of its content.
        read: Gives (H, W, 3) uint8 RGB.
        sample: With its labels; None where it has none.
    """

    source: str
    name: str
    mpp: float
    size: tuple[int, int]
    sha256: str
    read: Callable[[], NDArray[np.uint8]]
    sample: Sample | None = None

    def frame(self, mpp: float) -> tuple[int, int]:
        """Height and width at another resolution."""
        height, width = (max(1, round(length * (self.mpp / mpp))) for length in self.size)
        return height, width

    @property
    def area_um2(self) -> float:
        """How much it shows."""
        return self.size[0] * self.size[1] * self.mpp**2


def labelled_field(sample: Sample, *, least_um: float) -> Field:
    """A labelled image; one smaller than a crop is filled up with white, which holds no nuclei.

    Args:
        sample: The image.
        least_um: Side of a crop.
    """
    fill = _fill(sample.instances.shape, least_um / sample.mpp)
    if fill != (0, 0):
        sample = replace(
            sample,
            image=_filled(sample.image, fill),
            instances=np.pad(sample.instances, [(0, fill[0]), (0, fill[1])]),
            ignored=None if sample.ignored is None else np.pad(sample.ignored, [(0, fill[0]), (0, fill[1])]),
        )
    image = np.ascontiguousarray(sample.image)
    digest = hashlib.sha256(f"{image.shape} {sample.mpp!r}".encode() + image.tobytes()).hexdigest()
    height, width = image.shape[:2]
    return Field(sample.source, sample.name, sample.mpp, (height, width), digest, lambda: image, sample)


def image_field(image: UnlabelledImage, *, least_um: float) -> Field:
    """An image without labels; one smaller than a crop is filled up with white."""
    fill = _fill(image.size, least_um / image.mpp)
    digest = hashlib.sha256(f"{image.sha256} {fill} {image.mpp!r}".encode()).hexdigest()
    size = (image.size[0] + fill[0], image.size[1] + fill[1])
    return Field(image.source, image.path.name, image.mpp, size, digest, lambda: _filled(image.read(), fill))


def slide_fields(path: str | Path, *, mpp: float, count: int, seed: int = 0, least_um: float = 0.0) -> list[Field]:
    """Places on a slide, drawn from its tissue without overlap.

    Args:
        path: As `slides.open.open_slide` takes it.
        mpp: Resolution to read at; a coarser slide is read at its own.
        count: Places at most.
        seed: The same seed draws the same places.
        least_um: Side of a crop, which a place is no smaller than.

    Raises:
        SlideError: The slide cannot be read.
        InputError: It has no tissue as large as a place.
    """
    reader = open_slide(path)
    mpp = max(mpp, reader.mpp)
    tissue = find_tissue(reader)
    width, height = working_size(reader, mpp)
    side = max(SLIDE_FIELD_PX, math.ceil(least_um / mpp - 1e-6))
    grid = [(x, y) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
    centres = (np.array(grid, np.float64).reshape(-1, 2) + side / 2) * (mpp / reader.mpp)
    inside = np.flatnonzero(tissue.region.contains(centres)) if len(grid) and tissue.region.parts else np.zeros(0, int)
    if not len(inside):
        raise InputError(
            f"'{path}' has no tissue {side} px wide at {mpp:g} µm/px to learn from. {tissue.note}".rstrip()
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(inside)[:count])

    def read(box: Box) -> Callable[[], NDArray[np.uint8]]:
        return lambda: reader.read(box, mpp=mpp)

    fields = []
    for number in chosen:
        x, y = grid[number]
        digest = hashlib.sha256(f"{reader.fingerprint} {x} {y} {side} {mpp!r} {reader.mpp!r}".encode()).hexdigest()
        fields.append(Field(reader.name, f"{x}, {y}", mpp, (side, side), digest, read(Box(x, y, side, side))))
    return fields


def _fill(size: tuple[int, ...], least_px: float) -> tuple[int, int]:
    rows, columns = (max(0, math.ceil(least_px - 1e-6) - length) for length in size[:2])
    return rows, columns


def _filled(image: NDArray[np.uint8], fill: tuple[int, int]) -> NDArray[np.uint8]:
    if fill == (0, 0):
        return image
    return np.pad(image, [(0, fill[0]), (0, fill[1]), (0, 0)], constant_values=255)
