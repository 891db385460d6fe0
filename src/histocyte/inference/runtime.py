"""What turns images into maps, and nothing else."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_PRECISION", "Precision", "Runtime"]

Precision = Literal["auto", "f32", "bf16"]

DEFAULT_PRECISION: Precision = "f32"
"""The same cells on every CPU: what a laptop finds, a server with units for bfloat16 finds too. OpenVINO by itself
would take bfloat16 wherever there are such units, "auto" here."""


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
