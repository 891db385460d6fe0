"""Whether a file holds the weights of an encoder, without building the encoder in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histocyte.encoders.catalog.measure import build_empty
from histocyte.encoders.weights.diffusion import diffusion_state
from histocyte.encoders.weights.files import read_tensors
from histocyte.encoders.weights.load import encoder_weights

__all__ = ["names_fit"]


def names_fit(part: str, options: Mapping[str, Any], path: Path) -> int:
    """The number of tensors that the encoder takes from the file.

    Raises:
        ModelError: Missing, left over or of another shape; lists them.
        MissingExtraError: timm is not installed.
    """
    encoder = build_empty(part, options)
    if part == "diffusion":
        return len(diffusion_state(encoder, path))
    return len(encoder_weights(encoder, read_tensors(path), where=str(path)))
