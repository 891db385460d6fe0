"""Haematoxylin and eosin in optical density, where stains add up (Beer–Lambert)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["HED_FROM_RGB", "RGB_FROM_HED", "from_density", "to_density"]

RGB_FROM_HED: NDArray[np.float32] = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
"""Rows: absorption of haematoxylin, eosin and DAB in red, green, blue (Ruifrok & Johnston 2001)."""

HED_FROM_RGB: NDArray[np.float32] = np.linalg.inv(RGB_FROM_HED.astype(np.float64)).astype(np.float32)
"""Optical density (…, RGB) @ this → amounts of stain (…, HED)."""


def to_density(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(…, 3) uint8 RGB → optical density; white is 0. A table look-up, as there are only 256 values."""
    table = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)
    return table[image]


def from_density(density: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Optical density → (…, 3) uint8 RGB."""
    return np.clip(np.exp(-density) * 256 - 1, 0, 255).round().astype(np.uint8)
