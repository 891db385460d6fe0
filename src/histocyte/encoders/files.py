"""Tensors out of weights files, without running anything that a file holds."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.hub import shards

__all__ = ["read_tensors"]

_NESTS = ("teacher", "model_ema", "state_dict", "model_state_dict", "model")
"""Under which training programs put the weights; of DINO's two networks, the teacher is the one to use."""

_NUMPY = np._core.multiarray  # type: ignore[attr-defined]
_HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,  # DINO's files hold their command line
    *((_NUMPY.scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *{type(np.dtype(code)) for code in "?bhilqBHILQefd"},
]
"""What published files hold beside tensors and containers, and what building it cannot do harm with."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors or PyTorch file, or from all shards of an index.json.

    Raises:
        InputError: No such file, or a shard is missing.
        ModelError: No weights file, or one that holds more than plain data; code in it is not run.
    """
    tensors: dict[str, Tensor] = {}
    for shard in shards(path):
        if not shard.is_file():
            beside = f", which '{path.name}' lists" if shard != path else ""
            raise InputError(f"There is no weights file '{shard}'{beside}.")
        tensors |= _safetensors(shard) if shard.suffix == ".safetensors" else _pytorch(shard)
    return tensors


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(f"'{path}' is no safetensors file ({error}).") from error


def _pytorch(path: Path) -> dict[str, Tensor]:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            # What else lies in it, such as an optimiser's state, then stays on the disk.
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # noqa: BLE001 (anything can come out of a damaged pickle)
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"'{path}' holds no plain weights ({said}); code inside weights files is never run, so ask its authors for "
            "a file with tensors only."
        ) from error
    for key in _NESTS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)} if isinstance(found, Mapping) else {}
    if not tensors:
        raise ModelError(f"'{path}' is a PyTorch file without weights by name.")
    return tensors
