"""What weights are, whatever file they came in: a hash of the tensors themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["combined_sha256", "tensor_sha256", "weights_sha256"]

_CHUNK = 64 * 2**20
"""Bytes brought to the CPU at a time."""


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """One hash of named tensors: the same for a .pth and a .safetensors file that hold the same.

    Every tensor counts with its name, dtype, shape and bytes (row-major, as the processor orders them), in the order of
    the names.
    """
    return combined_sha256({name: tensor_sha256(tensor) for name, tensor in tensors.items()})


def combined_sha256(hashes: Mapping[str, str]) -> str:
    """`weights_sha256` from the `tensor_sha256` of each tensor."""
    lines = "".join(f"{name}\t{digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def tensor_sha256(tensor: Tensor) -> str:
    """Hash of one tensor's dtype, shape and bytes."""
    shape = "x".join(str(n) for n in tensor.shape)
    digest = hashlib.sha256(f"{str(tensor.dtype).removeprefix('torch.')} {shape}\n".encode())
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    for start in range(0, len(flat), _CHUNK):
        digest.update(flat[start : start + _CHUNK].cpu().numpy().tobytes())
    return digest.hexdigest()
