"""What turns images into maps, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histocyte.core.errors import ModelError
from histocyte.files.foreign import foreign_parser

__all__ = ["DEFAULT_PRECISION", "Precision", "Runtime", "as_maps", "running"]

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


@contextmanager
def running(program: str, path: Path) -> Iterator[None]:
    """What a program that runs networks raises over a model file, as an error that names the file.

    Raises:
        ModelError: Whatever was raised within.
    """
    with foreign_parser(
        lambda why: ModelError(
            f"{program} cannot run '{path}' ({why}). The file is damaged, or this version does not know it: copy it "
            "anew, or export it again with `histocyte models export`."
        )
    ):
        yield


def as_maps(found: ArrayLike, images: NDArray[np.uint8], *, channels: int | None, path: Path) -> NDArray[np.float32]:
    """What a network gave for images (B, H, W, 3) as their maps (B, C, H, W).

    Args:
        found: From the network.
        images: What it was given.
        channels: C, where it is known.
        path: The model file.

    Raises:
        ModelError: It is of another shape.
    """
    maps = np.asarray(found, np.float32)
    batch, height, width, _ = images.shape
    wanted = (batch, maps.shape[1] if maps.ndim > 1 and channels is None else channels, height, width)
    if maps.shape != wanted:
        raise ModelError(
            f"The network in '{path}' gives {maps.shape} for images of {images.shape}, and {wanted} is what its spec "
            "asks for: the file is damaged. Copy it anew, or export it again with `histocyte models export`."
        )
    return maps
