"""Seams between touching nuclei, where a distance that rises within each of them falls (compiled)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled

__all__ = ["LEVELS", "gaussian", "seam_drop_map", "seam_levels", "smooth"]

LEVELS = 1024
"""Heights told apart when flooding: finer than the maps are good for, and few enough for a bucket each."""
_DROP_MAX = 1.0
"""A full seam, 1 to -1 over two pixels; steeper drops flood last all alike."""


@compiled
def _steps(hover: NDArray[np.float32], inside: NDArray[np.int32]) -> NDArray[np.float32]:
    """(4, H, W) of each pixel: sum and number of steps of x-distance along rows, then of y-distance along columns.

    A step counts, for both its pixels, where both are nuclear and both values are numbers.
    """
    height, width = inside.shape
    steps = np.zeros((4, height, width), np.float32)
    for row in range(height):
        for column in range(width):
            if inside[row, column] == 0:
                continue
            if column + 1 < width and inside[row, column + 1] != 0:
                step = hover[0, row, column + 1] - hover[0, row, column]
                if np.isfinite(step):
                    steps[0, row, column] += step
                    steps[0, row, column + 1] += step
                    steps[1, row, column] += np.float32(1)
                    steps[1, row, column + 1] += np.float32(1)
            if row + 1 < height and inside[row + 1, column] != 0:
                step = hover[1, row + 1, column] - hover[1, row, column]
                if np.isfinite(step):
                    steps[2, row, column] += step
                    steps[2, row + 1, column] += step
                    steps[3, row, column] += np.float32(1)
                    steps[3, row + 1, column] += np.float32(1)
    return steps


@compiled
def _add_scaled(out: NDArray[np.float32], weight: np.float32, values: NDArray[np.float32]) -> None:
    for i in range(len(out)):
        out[i] += weight * values[i]


@compiled
def smooth(plane: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve along rows and columns, 0 beyond the field.

    Additions come in the same order for every pixel, so that a shift of the field changes no bit.
    """
    height, width = plane.shape
    reach = len(kernel) // 2
    rows = np.zeros_like(plane)
    for row in range(height):
        for k in range(len(kernel)):
            shift = k - reach
            low, high = max(0, -shift), min(width, width - shift)
            if low < high:
                _add_scaled(rows[row, low:high], kernel[k], plane[row, low + shift : high + shift])
    out = np.zeros_like(plane)
    for row in range(height):
        for source in range(max(0, row - reach), min(height, row + reach + 1)):
            _add_scaled(out[row], kernel[source - row + reach], rows[source])
    return out


@compiled
def _drops(
    across: NDArray[np.float32],
    pairs_across: NDArray[np.float32],
    down: NDArray[np.float32],
    pairs_down: NDArray[np.float32],
    inside: NDArray[np.int32],
) -> NDArray[np.float32]:
    drops = np.zeros(inside.shape, np.float32)
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if inside[row, column] == 0:
                continue
            x, y = np.float32(0), np.float32(0)
            if pairs_across[row, column] > 0:
                x = across[row, column] / pairs_across[row, column]
            if pairs_down[row, column] > 0:
                y = down[row, column] / pairs_down[row, column]
            # A diagonal seam shows half in either direction; together they tell it as clearly as a straight one.
            drops[row, column] = max(np.float32(0), -min(x, y, (x + y) * np.float32(0.70710678)))
    return drops


def gaussian(sigma_px: float) -> NDArray[np.float32]:
    """Weights of a Gaussian, up to three sigma, that sum to 1."""
    reach = max(1, int(3.0 * sigma_px + 0.5))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


def seam_drop_map(hover: NDArray[np.float32], inside: NDArray[np.int32], sigma_px: float) -> NDArray[np.float32]:
    """(H, W) how steeply the distances fall, per pixel, where they should rise; 0 where they rise and in background.

    Args:
        hover: (2, H, W) distance to the centre, x then y.
        inside: (H, W) non-zero in nuclei.
        sigma_px: Width of the Gaussian over which steps between nuclear neighbours are averaged.
    """
    kernel = gaussian(sigma_px)
    across, pairs_across, down, pairs_down = (smooth(plane, kernel) for plane in _steps(hover, inside))
    return _drops(across, pairs_across, down, pairs_down, inside)


@compiled
def _levels(drops: NDArray[np.float32], inside: NDArray[np.int32], threshold: float, top: int) -> NDArray[np.uint16]:
    """0 up to the threshold, then even steps up to `top` at the steepest drop."""
    levels = np.zeros(inside.shape, np.uint16)
    scale = np.float32((top - 1) / max(1e-6, _DROP_MAX - threshold))
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if inside[row, column] > 0 and drops[row, column] > threshold:
                step = int((drops[row, column] - np.float32(threshold)) * scale)
                levels[row, column] = 1 + min(top - 1, step)
    return levels


def seam_levels(
    drops: NDArray[np.float32], inside: NDArray[np.int32], threshold: float, top: int = LEVELS - 1
) -> NDArray[np.uint16]:
    """(H, W) heights for `watershed.flood`: 0 up to the threshold, then even steps up to `top` at the steepest drop."""
    return _levels(drops, inside, threshold, top)
