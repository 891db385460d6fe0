"""What weights are, whatever file they came in: a hash of the tensors themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["encoder_sha256", "tensor_sha256", "weights_sha256"]

_NOT_COUNTED = re.compile(
    r"(^|\.)(pos_embed|rel_pos_[hw]|relative_position_\w+|relative_coords_table|attn_mask|num_batches_tracked)$"
)
"""Positions, which are resampled to the model's grid when they are read, with last bits that differ between processors;
and what a model counts or computes by itself."""

_CHUNK = 64 * 2**20
"""Bytes brought to the CPU at a time."""


def encoder_sha256(tensors: Mapping[str, Tensor]) -> str:
    """One hash of an encoder's weights as they were published: of all but positions and counters."""
    return weights_sha256({name: tensor for name, tensor in tensors.items() if not _NOT_COUNTED.search(name)})


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """One hash of named tensors: the same for a .pth and a .safetensors file that hold the same.

    Every tensor counts with its name, dtype, shape and bytes (row-major, as the processor orders them), in the order of
    the names.
    """
    lines = "".join(f"{name}\t{tensor_sha256(tensors[name])}\n" for name in sorted(tensors))
    return hashlib.sha256(lines.encode()).hexdigest()


def tensor_sha256(tensor: Tensor) -> str:
    """Hash of one tensor's dtype, shape and bytes."""
    shape = "x".join(str(n) for n in tensor.shape)
    digest = hashlib.sha256(f"{str(tensor.dtype).removeprefix('torch.')} {shape}\n".encode())
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    for start in range(0, len(flat), _CHUNK):
        digest.update(flat[start : start + _CHUNK].cpu().numpy().tobytes())
    return digest.hexdigest()
