"""Training batches: random crops of labelled images at any zoom, augmented, reproducible one by one.

Sample i of step n is decided by (seed, n, i) alone. So a run that was killed goes on with exactly the batches it would
have seen, and workers need not share any state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.maps import decoded_maps
from histocyte.core.taxonomies import plain_tissue
from histocyte.datasets.augment.steps import Augmentation
from histocyte.datasets.sample import IGNORED, Sample
from histocyte.representations.protocol import Representation

__all__ = ["Batch", "BatchSource", "Crop", "CropSampler", "held_px", "prepared_ahead"]

_FILL = 255
"""Filling of a crop beyond its image: white, without nuclei, as the border of a field is filled at inference."""
_HELD = 0.9
"""Share of the crops that images are to hold without being filled up."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images and targets of one step.

    Attributes:
        images: (B, 3, H, W) float32, 0–255.
        maps: Target maps by name, (B, C, H, W) float32.
        separable: (B,) float32, 0 where touching nuclei are not apart in the labels.
        features: What a frozen encoder made of the images, by name, each with a batch axis
            (`training.feature_cache`); None where it has to be run.
        taught: (B, H, W) bool, where the labels say something; None where they do everywhere.
        tissues: (B,) int64, which of the model's tissues an image is of, -1 where that is not known; None where the
            model tells none apart.
    """

    images: NDArray[np.float32]
    maps: Mapping[str, NDArray[np.float32]]
    separable: NDArray[np.float32]
    features: Mapping[str, NDArray[np.float16]] | None = None
    tissues: NDArray[np.int64] | None = None
    taught: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Crop:
    """One augmented crop, before its labels are written as maps.

    Attributes:
        image: (H, W, 3) uint8.
        instances: (H, W) int32, with the ids of the whole image; `IGNORED` where nothing is known.
        sample: Index of the image it is cut from.
    """

    image: NDArray[np.uint8]
    instances: NDArray[np.int32]
    sample: int


class BatchSource(Protocol):
    """Where batches come from; a step's is decided by its number."""

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """The batches of steps start … stop - 1."""
        ...


def prepared_ahead(batch: Callable[[int], Batch], start: int, stop: int, *, threads: int = 1) -> Iterator[Batch]:
    """Batches of steps start … stop - 1, one more of them than there are threads prepared ahead."""
    ahead = threads + 1
    with ThreadPoolExecutor(threads, thread_name_prefix="crops") as pool:
        waiting = deque(pool.submit(batch, step) for step in range(start, min(stop, start + ahead)))
        try:
            for step in range(start, stop):
                if step + ahead < stop:
                    waiting.append(pool.submit(batch, step + ahead))
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class CropSampler:
    """Draws batches.

    Args:
        samples: Labelled images.
        representation: Writes the targets, after augmentation.
        augmentation: Applied to each crop.
        crop_px: Side of a crop as the network sees it.
        mpp: Resolution of a crop; images of another resolution are resampled.
        zoom: Range of a random factor on the resolution.
        weights: Share of the crops by data set (`Sample.source`); 1 where not named. Within a set, images are drawn by
            area.
        image_weights: (N,) how often each image is drawn in proportion to its area, in place of the shares of sets.
        tissues: Names of the tissues that the model tells apart.
        share: (i, n): of each batch this process draws crops i, i + n, i + 2n, …
        threads: That prepare batches ahead.
        seed: Seed of everything random.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        representation: Representation,
        augmentation: Augmentation,
        *,
        crop_px: int = 256,
        mpp: float = 0.25,
        zoom: tuple[float, float] = (0.8, 1.25),
        weights: Mapping[str, float] | None = None,
        image_weights: NDArray[np.float64] | None = None,
        tissues: Sequence[str] = (),
        share: tuple[int, int] = (0, 1),
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.samples, self.representation, self.augmentation = samples, representation, augmentation
        self.crop_px, self.mpp, self.zoom, self.seed = crop_px, mpp, zoom, seed
        self.share, self.threads = share, threads
        places = {plain_tissue(name): i for i, name in enumerate(tissues)}
        numbers = np.array([places.get(plain_tissue(s.tissue), -1) for s in samples], np.int64)
        self.tissues = numbers if tissues else None
        areas = np.array([s.instances.size * s.mpp**2 for s in samples])
        sources = np.array([s.source for s in samples])
        shares = np.zeros(len(samples))
        for source in np.unique(sources):
            mine = sources == source
            shares[mine] = (weights or {}).get(str(source), 1.0) * areas[mine] / areas[mine].sum()
        if image_weights is not None:
            shares = areas * image_weights
        self.shares = shares / shares.sum()

    @property
    def held_px(self) -> int:
        """Side of a square, as the network sees it, that nine in ten of the images drawn hold."""
        return held_px(self.samples, self.mpp, self.shares)

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a step: `size` crops, or this process's share of them."""
        first, every = self.share
        numbers = range(first, size, every)
        return self.batch_of([self.crop(np.random.default_rng([self.seed, step, i])) for i in numbers])

    def batch_of(self, crops: Sequence[Crop]) -> Batch:
        """Crops with their labels written as maps."""
        samples = [self.samples[crop.sample] for crop in crops]
        taught = np.stack([crop.instances != IGNORED for crop in crops])
        labels = [sample.labels_of(np.maximum(crop.instances, 0)) for crop, sample in zip(crops, samples, strict=True)]
        maps = [self.representation.encode(each) for each in labels]
        return Batch(
            np.stack([crop.image.transpose(2, 0, 1) for crop in crops]).astype(np.float32),
            {spec.name: np.stack([m[spec.name] for m in maps]) for spec in decoded_maps(self.representation.maps)},
            np.array([sample.separable for sample in samples], np.float32),
            tissues=None if self.tissues is None else self.tissues[[crop.sample for crop in crops]],
            taught=None if taught.all() else taught,
        )

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """The batches of steps start … stop - 1, some prepared ahead in threads of their own."""
        return prepared_ahead(lambda step: self.batch(step, size), start, stop, threads=self.threads)

    def crop(self, rng: np.random.Generator) -> Crop:
        """One crop, drawn, zoomed and augmented."""
        number = int(rng.choice(len(self.samples), p=self.shares))
        zoom = float(np.exp(rng.uniform(np.log(self.zoom[0]), np.log(self.zoom[1]))))
        image, instances = self.augmentation(*self._cut(number, zoom, rng), rng)
        return Crop(image, instances, number)

    def plain_crop(self, number: int, rng: np.random.Generator) -> Crop:
        """A crop of an image as it is, at the resolution of the crops."""
        return Crop(*self._cut(number, 1.0, rng), number)

    def _cut(self, number: int, zoom: float, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Image and labels of a place of an image, zoomed."""
        sample = self.samples[number]
        height, width = sample.instances.shape
        scale = sample.mpp / self.mpp
        # An image that would not fill the crop is zoomed out less, though never in: a nucleus keeps its size in µm.
        fits = self.crop_px / (scale * min(height, width))
        zoom = max(zoom, min(self.zoom[1], 1.0, fits))
        side = round(self.crop_px / (scale * zoom))
        image, instances = _square(sample, _place(height, side, rng), _place(width, side, rng))
        if side != self.crop_px:
            target = (self.crop_px, self.crop_px)
            smaller = side > self.crop_px
            image = cv2.resize(image, target, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
            instances = cv2.resize(instances, target, interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(image, np.uint8), np.asarray(instances, np.int32)


def held_px(samples: Sequence[Sample], mpp: float, shares: NDArray[np.float64] | None = None) -> int:
    """Side of a square that nine in ten of the images hold.

    Args:
        samples: The images.
        mpp: Resolution of the square's px, µm/px.
        shares: (N,) how often each image is drawn; all alike where None.
    """
    sides = np.array([min(s.instances.shape) * s.mpp / mpp for s in samples])
    order = np.argsort(sides)
    weights = np.full(len(sides), 1 / len(sides)) if shares is None else shares
    lacking = np.cumsum(weights[order])
    return int(sides[order][np.searchsorted(lacking, 1 - _HELD, side="right")] + 1e-6)


def _place(length: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Where a crop begins and ends along an axis of an image, beyond which it may reach where it is the longer one."""
    room = length - side
    start = int(rng.integers(room + 1)) if room >= 0 else -int(rng.integers(-room + 1))
    return start, start + side


def _square(
    sample: Sample, rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Image and labels from row to row and from column to column, filled up beyond their border."""
    height, width = sample.instances.shape
    inside = slice(max(0, rows[0]), rows[1]), slice(max(0, columns[0]), columns[1])
    fill = (max(0, -rows[0]), max(0, rows[1] - height)), (max(0, -columns[0]), max(0, columns[1] - width))
    part, labels = sample.image[inside], sample.marked_in(inside)
    if fill == ((0, 0), (0, 0)):
        return part, labels
    return np.pad(part, (*fill, (0, 0)), constant_values=_FILL), np.pad(labels, fill)
