"""What turns images into maps, and nothing else."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Runtime"]


class Runtime(Protocol):
    """A loaded network. Safe to call from several threads."""

    name: str
    """"openvino", "torch" or "onnxruntime"."""
    device: str
    """Where it runs, for people: "CPU", "cuda:0 (NVIDIA …)"."""
    parallel: int
    """How many threads may usefully call `predict` at the same time."""
    multiple: int
    """Height and width of images must be multiples of this."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W), activated, of images (B, H, W, 3) RGB."""
        ...
