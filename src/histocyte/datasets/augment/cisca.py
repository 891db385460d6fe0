"""The augmentation of CISCA (Vadori et al. 2024, arXiv 2409.04175), with its probabilities.

Its normalisation of stains to a template of its authors' is left out, as the template is not published; the share of it
goes to the random variation of stains that it has beside it (Shen et al. 2022, RandStainNA, arXiv 2206.12694).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.datasets.augment.steps import Augmentation, blur, noise, stain_jitter

__all__ = ["cisca_augmentation", "elastic_grid", "lab_stain"]

Image = NDArray[np.uint8]
Map = NDArray[np.int32]


def cisca_augmentation() -> Augmentation:
    """Stain, turns and flips, an elastic grid, blur or noise, contrast and brightness, hue and saturation, noise."""
    steps = [
        (0.7, _stain),
        (0.9, lambda image, instances, rng: _turned(image, instances, int(rng.integers(1, 4)))),
        (0.9, _flipped),
        (0.7, elastic_grid),
        (0.15, lambda image, instances, rng: (blur, noise)[int(rng.integers(2))](image, instances, rng)),
        (0.7, _contrast),
        (0.65, _hue_saturation_value),
        (0.15, noise),
    ]
    return Augmentation([(0.99, lambda image, instances, rng: Augmentation(steps)(image, instances, rng))])


def lab_stain(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Give each channel of LAB the mean and spread of a slide that might have been: a random one near its own.

    Means move by up to some 4 % of their range, spreads by up to a quarter, about the variation among laboratories.
    """
    lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB).astype(np.float32)
    mean, spread = lab.mean((0, 1)), lab.std((0, 1))
    new_mean = mean + rng.normal(0, (10.0, 4.0, 4.0))
    new_spread = spread * rng.uniform(0.75, 1.25, 3)
    moved = (lab - mean) / np.maximum(spread, 1e-3) * new_spread + new_mean
    moved = np.clip(moved, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_LAB2RGB), np.uint8), instances


def elastic_grid(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Move the nodes of a grid of 5 × 5 fields by up to 10 px each way, and what is between them smoothly along."""
    height, width = image.shape[:2]
    nodes = rng.uniform(-10, 10, (2, 6, 6)).astype(np.float32)
    nodes[:, [0, -1]], nodes[:, :, [0, -1]] = 0, 0  # the rim stays, or there would be nothing to show
    dx, dy = (cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC) for each in nodes)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    border = {"borderMode": cv2.BORDER_REFLECT_101}
    warped = cv2.remap(np.ascontiguousarray(image), x + dx, y + dy, cv2.INTER_LINEAR, **border)
    # cv2.remap knows no 32-bit integers; float32 holds every id up to 2^24 exactly.
    labels = cv2.remap(np.ascontiguousarray(instances).astype(np.float32), x + dx, y + dy, cv2.INTER_NEAREST, **border)
    return np.asarray(warped, np.uint8), labels.astype(np.int32)


def _stain(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    return (lab_stain if rng.random() < 0.95 else stain_jitter)(image, instances, rng)


def _turned(image: Image, instances: Map, turns: int) -> tuple[Image, Map]:
    return np.rot90(image, turns), np.rot90(instances, turns)


def _flipped(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    return (image[::-1], instances[::-1]) if rng.random() < 0.5 else (image[:, ::-1], instances[:, ::-1])


def _contrast(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """One of: contrast by parts of the image, contrast, brightness."""
    which = int(rng.integers(3))
    if which == 0:
        lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB)
        lab[..., 0] = cv2.createCLAHE(clipLimit=float(rng.uniform(1, 4)), tileGridSize=(8, 8)).apply(lab[..., 0])
        return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8), instances
    pixels = image.astype(np.float32)
    pixels = (pixels - 128) * rng.uniform(0.8, 1.2) + 128 if which == 1 else pixels + rng.uniform(-25, 25)
    return np.clip(pixels, 0, 255).round().astype(np.uint8), instances


def _hue_saturation_value(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Hue by up to 5 % of the circle, saturation and value by up to 10 % of their range."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV_FULL).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + int(rng.integers(-13, 14))) % 256
    for channel in (1, 2):
        hsv[..., channel] = np.clip(hsv[..., channel] + int(rng.integers(-25, 26)), 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB_FULL), np.uint8), instances
