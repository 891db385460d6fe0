"""Weights that anyone can make again from their names alone, to compare an own network with a published one."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_shapes", "regenerated"]


def regenerated(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A weight drawn by its name, of a size with which deep networks neither vanish nor explode.

    Args:
        key: Name in the published state dict; its ending tells norms and biases from kernels.
        shape: Shape of the weight, () for a number alone.
    """
    z = np.asarray(np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape))
    if key.endswith("num_batches_tracked"):
        z = np.zeros(shape)
    elif key.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif key.endswith("running_mean"):
        z = 0.1 * z
    elif z.ndim <= 1:
        z = 1 + 0.1 * z if key.endswith("weight") else 0.05 * z
    else:
        z = z / np.sqrt(z.size / shape[0])
    return z.astype(np.float32)


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a published state dict: lines of a name, a tab and the sides with x between."""
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return {key: tuple(int(n) for n in shape.split("x") if n) for key, shape in rows}
