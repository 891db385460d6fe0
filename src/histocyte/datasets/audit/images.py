"""Images that stand out: blank, blurred, stained unlike the rest of their set, or of another size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.stain import to_density
from histocyte.datasets.audit.finding import Example, Finding, Severity
from histocyte.datasets.sample import Sample

__all__ = ["ImageFacts", "find_images", "image_facts"]

_LEAST_IMAGES = 10
"""Fewer images say nothing of what is usual in a set."""
_OUTLYING = 6.0
"""Robust standard deviations from the set's median."""
_BLANK = 3.0
"""Standard deviation of grey levels below which an image shows nothing."""
_BLURRED = 0.25
"""Sharpness, as a share of the set's median, below which an image is blurred."""
_TISSUE = 0.15
"""Optical density of what is no glass."""
_EXAMPLES = 6
_LEAST_SPREAD = 0.04
"""Spread of densities below which a set would have outliers by uniformity alone."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is measured on an image.

    Attributes:
        contrast: Standard deviation of its grey levels.
        sharpness: Strength of its finest detail relative to its contrast.
        density: (3,) mean optical density of its tissue in red, green and blue; NaN where it has none.
    """

    contrast: float
    sharpness: float
    density: NDArray[np.float64]


def image_facts(sample: Sample) -> ImageFacts:
    """Measure an image."""
    image = np.ascontiguousarray(sample.image)
    grey = image.mean(axis=2, dtype=np.float32)
    contrast = float(grey.std())
    fine = float(cv2.Laplacian(grey, cv2.CV_32F).std())
    density = to_density(np.ascontiguousarray(image[::2, ::2]))
    tissue = density.mean(axis=2) > _TISSUE
    mean = density[tissue].mean(axis=0).astype(np.float64) if tissue.any() else np.full(3, np.nan)
    return ImageFacts(contrast, fine / max(contrast, 1e-6), mean)


def find_images(source: str, samples: Sequence[Sample], facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """What the images of one set show, each against the others.

    Args:
        source: Name of the set.
        samples: Its images.
        facts: Measurements, one for each image.
    """
    blank = [i for i, f in enumerate(facts) if f.contrast < _BLANK]
    if labelled := [i for i in blank if samples[i].instances.any()]:
        yield _finding(
            Severity.ERROR, "blank", source, samples, labelled, "blank, and nuclei are labelled",
            "Replace the image by the one that was labelled, or leave it out.",
        )  # fmt: skip
    if empty := [i for i in blank if i not in labelled]:
        yield _finding(
            Severity.NOTE, "blank", source, samples, empty, "blank",
            "They teach background; leave them out if that is not wanted.",
        )  # fmt: skip
    yield from _sizes(source, samples)
    if len(samples) < _LEAST_IMAGES:
        return
    sharpness = np.array([f.sharpness for f in facts])
    usual = float(np.median(sharpness))
    blurred = [i for i in np.flatnonzero(sharpness < _BLURRED * usual).tolist() if i not in blank]
    if blurred:
        yield _finding(
            Severity.WARNING, "blurred", source, samples, sorted(blurred, key=lambda i: sharpness[i]),
            "much less sharp than the rest of the set",
            "See whether they are out of focus or were enlarged, and leave them out if so.",
        )  # fmt: skip
    away = stain_distances(facts)
    if outlying := sorted(
        (i for i in np.flatnonzero(away > _OUTLYING).tolist() if i not in blank), key=lambda i: -away[i]
    ):
        yield _finding(
            Severity.NOTE, "stain", source, samples, outlying, "stained unlike the rest of the set",
            "See whether they are of another stain or scanner; rare stains teach little unless there are more of them.",
        )  # fmt: skip


def stain_distances(facts: Sequence[ImageFacts]) -> NDArray[np.float64]:
    """(N,) how far the densities of each image are from the set's median, in robust standard deviations."""
    densities = np.stack([f.density for f in facts])
    known = ~np.isnan(densities).any(axis=1)
    if known.sum() < _LEAST_IMAGES:
        return np.zeros(len(facts))
    away = np.abs(densities - np.median(densities[known], axis=0))
    spread = np.maximum(1.4826 * np.median(away[known], axis=0), _LEAST_SPREAD)
    return np.where(known, (away / spread).max(axis=1), 0.0)


def _sizes(source: str, samples: Sequence[Sample]) -> Iterator[Finding]:
    shapes = Counter(s.instances.shape for s in samples)
    (usual, count) = shapes.most_common(1)[0]
    others = [i for i, s in enumerate(samples) if s.instances.shape != usual]
    # A set whose sizes vary says nothing by that; a few among many of one size are worth a look.
    if others and len(others) <= 0.1 * len(samples) and count >= _LEAST_IMAGES:
        yield _finding(
            Severity.NOTE, "size", source, samples, others, f"not of {usual[1]} × {usual[0]} px as the others are",
            "See whether they were cut or enlarged after labelling.",
        )  # fmt: skip


def _finding(
    severity: Severity,
    check: str,
    source: str,
    samples: Sequence[Sample],
    picked: Sequence[int],
    what: str,
    advice: str,
) -> Finding:
    names = tuple(samples[i].name for i in picked)
    examples = tuple(Example(source, name) for name in names[:_EXAMPLES])
    said = f"In {source} {len(picked):,} of {len(samples):,} images: {what}."
    return Finding(severity, check, source, said, advice, names, len(picked), examples)
