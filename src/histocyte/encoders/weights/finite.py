"""Weights that are numbers: a network with one that is not answers with nothing but such."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from histocyte.core.errors import ModelError

__all__ = ["check_finite"]


def check_finite(weights: Mapping[str, Tensor], *, where: str) -> None:
    """Refuse weights that are not all finite, as a training that diverged leaves them.

    Args:
        weights: By name; tensors without memory (of the meta device) pass.
        where: What to call their source in an error.

    Raises:
        ModelError: Some are NaN or infinite; names where.
    """
    bad = [name for name, tensor in weights.items() if not _finite(tensor)]
    if bad:
        raise ModelError(
            f"'{where}' holds weights that are no numbers (NaN or infinite), in {', '.join(bad[:4])}"
            f"{f' and {len(bad) - 4} more' if len(bad) > 4 else ''}: its training diverged, or the file is damaged."
        )


def _finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0 or tensor.is_meta:
        return True
    if tensor.is_complex() or tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        return bool(tensor.to(torch.complex64 if tensor.is_complex() else torch.float32).isfinite().all())
    return all(bool(end.isfinite()) for end in torch.aminmax(tensor))  # NaN is the least and the most of all
