"""What turns images into maps, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histocyte.core.errors import InputError, ModelError
from histocyte.files.foreign import foreign_parser
from histocyte.model.features import FeatureInfo

__all__ = ["DEFAULT_PRECISION", "Precision", "Runtime", "as_maps", "features_of", "running"]

Precision = Literal["auto", "f32", "bf16"]

DEFAULT_PRECISION: Precision = "auto"
"""bfloat16 wherever the CPU has units for it, as OpenVINO does by itself: up to twice as fast, and no score is worse
(`docs/models.md`). With "f32" a laptop finds the very cells that a server with such units finds."""


class Runtime(ABC):
    """A loaded network. Safe to call from several threads."""

    name: str
    """"openvino", "torch" or "onnxruntime"."""
    device: str
    """Where it runs, for people: "CPU", "cuda:0 (NVIDIA …)"."""
    parallel: int
    """How many threads may usefully call `predict` at the same time."""
    multiple: int
    """Height and width of images must be multiples of this."""
    channels: int | None = None
    """Channels of the maps, C; None where that is not known before the first image."""
    precision: str | None = None
    """What it computes in, where there is a choice."""
    features: FeatureInfo | None = None
    """What `predict_with_features` gives beside the maps; None for a runtime that gives maps alone."""
    tells_tissues: bool = False
    """Whether it runs a head for tissues (`tissue_probabilities`)."""

    @abstractmethod
    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W), activated, of images (B, H, W, 3) RGB."""

    def predict_with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Maps (B, C, H, W) of images (B, H, W, 3), and features (B, h, w, D) of the same pass.

        Raises:
            InputError: The runtime gives maps alone.
        """
        raise _maps_alone(self)

    def tissue_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, T) probabilities of the tissues that the model tells apart, of images (B, H, W, 3).

        Raises:
            InputError: The runtime runs no head for tissues.
        """
        raise InputError(f"The runtime '{self.name}' tells no tissues apart.")


def features_of(runtime: Runtime) -> FeatureInfo:
    """What the features are that a runtime gives.

    Raises:
        InputError: It gives none.
    """
    if runtime.features is None:
        raise _maps_alone(runtime)
    return runtime.features


def _maps_alone(runtime: Runtime) -> InputError:
    return InputError(
        f"The runtime '{runtime.name}' gives maps alone and no vectors of cells. Pass --runtime torch, which needs the "
        "model's .safetensors file."
    )


@contextmanager
def running(program: str, path: Path) -> Iterator[None]:
    """What a program that runs networks raises over a model file, as an error that names the file.

    Raises:
        ModelError: Whatever was raised within.
    """
    with foreign_parser(
        lambda why: ModelError(
            f"{program} cannot run '{path}' ({why}). The file is damaged, or this version does not know it: copy it "
            "again, or export it again with `histocyte models export`."
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
            "asks for: the file is damaged. Copy it again, or export it again with `histocyte models export`."
        )
    return maps
