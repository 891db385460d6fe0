"""The augmentation of CellViT (Hörst et al. 2024): eleven transforms in the published order, with its probabilities.

Each draws what albumentations 1.3, which the paper's code calls, draws for the published arguments.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import require
from histocyte.datasets.augment.steps import Augmentation

__all__ = [
    "box_blur",
    "cellvit_augmentation",
    "cellvit_colour",
    "colour_jitter",
    "elastic",
    "flips",
    "gauss_noise",
    "halve",
    "quarter_turn",
    "sized_crop",
    "superpixels",
    "zoom_blur",
]

Image = NDArray[np.uint8]
Map = NDArray[np.int32]

_CORNERS = np.array([[1, 1], [1, -1], [-1, -1]], np.float32)
"""Corners of the square that `elastic` jolts, from its centre."""


def cellvit_augmentation(*, crop: bool = True) -> Augmentation:
    """All eleven transforms; the models at 0.5 µm/px are trained without the random sized crop."""
    steps = [*flips().steps, *cellvit_colour().steps, (0.1 if crop else 0.0, sized_crop), (0.2, elastic)]
    return Augmentation(steps)


def cellvit_colour() -> Augmentation:
    """Those six of them that leave every pixel in its place."""
    return Augmentation(
        [
            (0.15, halve),
            (0.2, box_blur),
            (0.25, gauss_noise),
            (0.2, colour_jitter),
            (0.1, superpixels),
            (0.1, zoom_blur),
        ]
    )


def flips() -> Augmentation:
    """The first three alone, as the paper's StarDist models with CPP-Net's settings have it."""
    return Augmentation(
        [
            (0.5, quarter_turn),
            (0.5, lambda image, instances, rng: (image[:, ::-1], instances[:, ::-1])),
            (0.5, lambda image, instances, rng: (image[::-1], instances[::-1])),
        ]
    )


def quarter_turn(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Turn by 0, 90, 180 or 270°."""
    turns = int(rng.integers(4))
    return np.rot90(image, turns), np.rot90(instances, turns)


def halve(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Down to half size and up again, nearest neighbour both ways."""
    height, width = image.shape[:2]
    small = np.ascontiguousarray(image[::2, ::2])
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8), instances


def box_blur(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Mean over an odd square of 3–9 px (blur limit 10)."""
    side = int(rng.choice([3, 5, 7, 9]))
    return np.asarray(cv2.blur(np.ascontiguousarray(image), (side, side)), np.uint8), instances


def gauss_noise(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Gaussian noise of a variance of 0–50 grey levels squared, each as likely as the other (var_limit 50)."""
    grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0, 50) ** 0.5
    return np.clip(image + grain, 0, 255).astype(np.uint8), instances


def colour_jitter(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Brightness and contrast ±25 %, saturation ±10 %, hue ±5 % of the circle, in random order."""

    def brightness(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x * np.float32(rng.uniform(0.75, 1.25))

    def contrast(x: NDArray[np.float32]) -> NDArray[np.float32]:
        mean = np.float32(_grey(x).mean())
        return (x - mean) * np.float32(rng.uniform(0.75, 1.25)) + mean

    def saturation(x: NDArray[np.float32]) -> NDArray[np.float32]:
        grey = _grey(x)[..., None]
        return (x - grey) * np.float32(rng.uniform(0.9, 1.1)) + grey

    def hue(x: NDArray[np.float32]) -> NDArray[np.float32]:
        hsv = cv2.cvtColor(np.clip(x, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV_FULL)
        hsv[..., 0] += np.uint8(round(float(rng.uniform(-0.05, 0.05)) * 256) % 256)  # uint8 wraps, as hue does
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.float32)

    steps = [brightness, contrast, saturation, hue]
    pixels = image.astype(np.float32)
    for i in rng.permutation(4):
        pixels = np.clip(steps[i](pixels), 0, 255)
    return pixels.round().astype(np.uint8), instances


def superpixels(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Replace about a tenth of 200 superpixels by their mean colour, found at half size.

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    slic = require("skimage.segmentation", extra="train").slic
    height, width = image.shape[:2]
    small = cv2.resize(np.ascontiguousarray(image), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    pieces = slic(small, n_segments=200, compactness=10, start_label=0)
    pieces = cv2.resize(pieces.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)
    count = int(pieces.max()) + 1
    sizes = np.maximum(1, np.bincount(pieces.ravel(), minlength=count))
    means = np.stack([np.bincount(pieces.ravel(), image[..., c].ravel(), count) / sizes for c in range(3)], axis=-1)
    replaced = (rng.random(count) < 0.1)[pieces]
    return np.where(replaced[..., None], means[pieces].round().astype(np.uint8), image), instances


def zoom_blur(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Mean of the image and copies enlarged about its centre: by 1 up to a largest factor of 1–1.05, 0.01–0.03 apart.

    Where the largest factor is below the first step, the image stays as it is.
    """
    height, width = image.shape[:2]
    image = np.ascontiguousarray(image)
    total = image.astype(np.float32)
    largest, step = rng.uniform(1.0, 1.05), rng.uniform(0.01, 0.03)
    factors = np.arange(1.0, largest, step)
    for factor in factors:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, float(factor))
        total += cv2.warpAffine(
            image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    return (total / (len(factors) + 1)).round().astype(np.uint8), instances


def sized_crop(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """A random square of half to full side, enlarged to the full size."""
    height, width = image.shape[:2]
    side = int(rng.integers(min(height, width) // 2, min(height, width) + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    window = slice(top, top + side), slice(left, left + side)
    size = (width, height)
    larger = cv2.resize(np.ascontiguousarray(image[window]), size, interpolation=cv2.INTER_LINEAR)
    labels = cv2.resize(np.ascontiguousarray(instances[window]), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(larger, np.uint8), np.asarray(labels, np.int32)


def elastic(image: Image, instances: Map, rng: np.random.Generator) -> tuple[Image, Map]:
    """Smooth random displacement (sigma 25 px, alpha 0.5) after an affine jolt (alpha_affine 15).

    Three corners of a square about the centre, a third of the image's shorter side away from it each way, move by up to
    15 px each way, and all else along with them.
    """
    height, width = image.shape[:2]
    corners = np.array([width, height], np.float32) // 2 + min(height, width) // 3 * _CORNERS
    jolt = rng.uniform(-15, 15, (3, 2)).astype(np.float32)
    affine = cv2.getAffineTransform(corners + jolt, corners)
    dx, dy = (
        cv2.GaussianBlur(rng.uniform(-1, 1, (height, width)).astype(np.float32), (0, 0), 25) * 0.5 for _ in range(2)
    )
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x + dx, y + dy
    map_x = (affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]).astype(np.float32)
    map_y = (affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]).astype(np.float32)
    border = {"borderMode": cv2.BORDER_REFLECT_101}
    warped = cv2.remap(np.ascontiguousarray(image), map_x, map_y, cv2.INTER_LINEAR, **border)
    # cv2.remap knows no 32-bit integers; float32 holds every id up to 2^24 exactly.
    labels = cv2.remap(np.ascontiguousarray(instances).astype(np.float32), map_x, map_y, cv2.INTER_NEAREST, **border)
    return np.asarray(warped, np.uint8), labels.astype(np.int32)


def _grey(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114], np.float32))
