"""Augmentation of one labelled crop: geometry on image and labels alike, colour on the image alone.

Every transform is a function (image, instances, rng) → (image, instances) with image (H, W, 3) uint8 RGB and
instances (H, W) int32; all randomness comes from the generator given, so a sample is reproduced by its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.stain import HED_FROM_RGB, RGB_FROM_HED, from_density, to_density

__all__ = ["Augmentation", "Transform", "blur", "brightness_contrast", "dihedral", "downscale", "noise", "stain_jitter"]

Image = NDArray[np.uint8]
Map = NDArray[np.int32]
Transform = Callable[[Image, Map, np.random.Generator], tuple[Image, Map]]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Transforms applied in order, each with its probability."""

    steps: Sequence[tuple[float, Transform]]

    def __call__(self, image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
        """Apply to one crop."""
        for probability, transform in self.steps:
            if rng.random() < probability:
                image, instances = transform(image, instances, rng)
        return np.ascontiguousarray(image), np.ascontiguousarray(instances)


def dihedral(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """One of the eight flips and quarter turns, all equally likely."""
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    image, instances = np.rot90(image, turns), np.rot90(instances, turns)
    return (image[:, ::-1], instances[:, ::-1]) if flip else (image, instances)


def stain_jitter(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Scale the amounts of haematoxylin and eosin and shift them a little, in optical density (Tellez et al. 2018)."""
    stains = to_density(image) @ HED_FROM_RGB
    scale = rng.uniform(0.75, 1.3, 3).astype(np.float32)
    shift = rng.uniform(-0.04, 0.04, 3).astype(np.float32)
    return from_density((stains * scale + shift) @ RGB_FROM_HED), instances


def brightness_contrast(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Gamma, contrast about the mean, brightness and a slight tint, as scanners and lamps differ."""
    gamma, contrast = rng.uniform(0.8, 1.25), rng.uniform(0.85, 1.15)
    tint = rng.uniform(-12, 12) + rng.uniform(-6, 6, 3)
    table = ((np.arange(256) / 255.0) ** gamma * 255.0)[:, None]
    table = np.clip((table - 128) * contrast + 128 + tint, 0, 255).round().astype(np.uint8)
    return np.stack([table[image[..., c], c] for c in range(3)], axis=-1), instances


def blur(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Gaussian blur, sigma up to 1.6 px: out of focus."""
    return cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), float(rng.uniform(0.3, 1.6))), instances


def noise(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Gaussian sensor noise, sigma up to 7 grey levels (variance 50)."""
    grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(1, 50**0.5)
    return np.clip(image + grain, 0, 255).astype(np.uint8), instances


def downscale(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Lose detail: down by a factor of 1.3–2 and up again."""
    height, width = image.shape[:2]
    factor = rng.uniform(0.5, 0.77)
    small = cv2.resize(np.ascontiguousarray(image), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), instances
