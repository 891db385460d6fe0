"""Tensors out of weights files, without running anything that a file holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.weights.hub import shards
from histocyte.encoders.weights.pytorch_file import named_tensors, read_pytorch, unwrapped
from histocyte.files.foreign import foreign_parser
from histocyte.files.kind import but_is

__all__ = ["read_tensors"]

_NESTS = ("teacher", "model_ema", "state_dict", "model_state_dict", "model")
"""Under which training programs put the weights; of DINO's two networks, the teacher is the one to use."""


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
    with foreign_parser(
        lambda why: ModelError(f"'{path}' is not a safetensors file, or it is damaged{but_is(path) or f' ({why})'}.")
    ):
        return load_file(path)


def _pytorch(path: Path) -> dict[str, Tensor]:
    content = read_pytorch(path, harmless=[argparse.Namespace])  # DINO's files hold their command line
    return named_tensors(unwrapped(content, _NESTS), where=path)
