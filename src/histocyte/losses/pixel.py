"""Losses summed pixel by pixel. Shapes: B batch, C channels, H W pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["binary_cross_entropy", "cross_entropy", "mean_squared_error"]


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits (B, 1, H, W) against a target of the same shape in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, target)


def cross_entropy(probabilities: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over pixels of -Σ_c t_c log p_c (CellViT's xentropy, clamp 1e-7).

    Args:
        probabilities: (B, C, H, W); normalised again over C.
        target: (B, C, H, W) one-hot.
        mask: (B, 1, H, W) of 0 and 1: the pixels that count; all where None.
    """
    p = probabilities / probabilities.sum(dim=1, keepdim=True)
    per_pixel = -(target * p.clamp(1e-7, 1 - 1e-7).log()).sum(dim=1, keepdim=True)
    if mask is None:
        return per_pixel.mean()
    return (per_pixel * mask).sum() / mask.sum().clamp(min=1.0)


def mean_squared_error(predicted: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared difference over all pixels and channels, or over those of `mask` (B, 1, H, W)."""
    squared = (predicted - target) ** 2
    if mask is None:
        return squared.mean()
    return (squared * mask).sum() / (mask.sum() * predicted.shape[1]).clamp(min=1.0)
