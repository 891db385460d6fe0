"""The numbers a training computes with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

__all__ = ["Precision", "autocast", "pick_precision"]

Precision = Literal["auto", "float32", "bfloat16"]


def pick_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """What "auto" means on a device: bfloat16 where it is quick."""
    if precision != "auto":
        return precision
    # On a CPU without bf16 units, bf16 is emulated and several times slower.
    quick = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if quick else "float32"


def autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Makes the context in which a network runs."""
    if pick_precision(precision, device) == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)
