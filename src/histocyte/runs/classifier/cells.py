"""Labelled cells as a model finds them: each detection with its vector, and the class of the true cell it lies on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.instances import Instances
from histocyte.datasets.arrays import read_arrays, sample_sha256, write_arrays
from histocyte.datasets.sample import Sample
from histocyte.inference.parallel import map_unordered
from histocyte.metrics.detection import centroids, detection_radius_px, match_centroids

__all__ = ["Detector", "LabelledCells", "collect_cells"]

Detector = Callable[[NDArray[np.uint8], float], tuple[Instances, NDArray[np.float32]]]
"""(H, W, 3) uint8 RGB and its resolution (µm/px) → what was found on the same pixels, and the (N, D) vectors."""

_ARRAYS = ("vectors", "types", "own", "labelled")


@dataclass(frozen=True, eq=False)
class LabelledCells:
    """Found cells of known class, image by image.

    Attributes:
        vectors: (N, D).
        types: (N,) true class from 0.
        own: (N, C) probabilities of the model's own classes.
        image: (N,) number of its image.
        labelled: (I,) true cells of known class in each image, found or not.
        groups: Groups of the images: patient or slide, with their set.
    """

    vectors: NDArray[np.float32]
    types: NDArray[np.int64]
    own: NDArray[np.float32]
    image: NDArray[np.int64]
    labelled: NDArray[np.int64]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.types)

    def take(self, chosen: NDArray[np.bool_]) -> LabelledCells:
        """Some of the cells; the images stay numbered as they are."""
        arrays = {name: getattr(self, name)[chosen] for name in ("vectors", "types", "own", "image")}
        return replace(self, **arrays)


def collect_cells(
    detect: Detector,
    samples: Sequence[Sample],
    *,
    folder: Path | None = None,
    workers: int = 1,
    on_image: Callable[[Sample], None] | None = None,
) -> LabelledCells:
    """Find the cells of labelled images and give them the labels, one to one within 3 µm of centres.

    Detections on no labelled cell, and labelled cells that were not found, are left out: an image need not be labelled
    throughout.

    Args:
        detect: The model.
        samples: Images with classes.
        folder: Folder for this model's cells; those of images that lie there are read, the others written.
        workers: Images under way at a time.
        on_image: Called after each image.

    Raises:
        DiskError: The folder cannot be written.
    """

    def one(number: int) -> tuple[int, dict[str, NDArray[Any]]]:
        sample = samples[number]
        path = None if folder is None else folder / f"{sample_sha256(sample)[:24]}.npz"
        part = None if path is None else read_arrays(path, _ARRAYS)
        if part is None:
            part = _matched(sample, *detect(sample.image, sample.mpp))
            if path is not None:
                write_arrays(path, part)
        return number, part

    parts: list[dict[str, NDArray[Any]]] = [{}] * len(samples)
    for number, part in map_unordered(one, range(len(samples)), workers=workers):
        parts[number] = part
        if on_image is not None:
            on_image(samples[number])
    return LabelledCells(
        np.concatenate([part["vectors"] for part in parts]),
        np.concatenate([part["types"] for part in parts]),
        np.concatenate([part["own"] for part in parts]),
        np.repeat(np.arange(len(parts)), [len(part["types"]) for part in parts]),
        np.array([int(part["labelled"]) for part in parts]),
        tuple(f"{s.source}/{s.group or s.name}" for s in samples),
    )


def _matched(sample: Sample, found: Instances, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    assert sample.types is not None
    true_ids, true_xy = centroids(sample.instances)
    found_ids, found_xy = centroids(found.labels)
    radius_px = detection_radius_px(sample.mpp)
    match = match_centroids(true_xy, found_xy, radius_px=radius_px, mode="max_cardinality")
    types = sample.types[true_ids].astype(np.int64)
    known = types[match.truth] > 0
    rows = found_ids[match.found[known]] - 1
    return {
        "vectors": np.asarray(vectors[rows], np.float32),
        "types": types[match.truth[known]] - 1,
        "own": np.asarray(found.class_probabilities[rows], np.float32),
        "labelled": np.array((types > 0).sum()),
    }
