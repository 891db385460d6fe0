"""Losses summed pixel by pixel. Shapes: B batch, C channels, H W pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["binary_cross_entropy", "cross_entropy", "mean_squared_error", "weighted_absolute_error", "widen"]


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


def weighted_absolute_error(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean of |difference| under weights (B, 1, H, W), over all channels of (B, C, H, W); 0 without any weight."""
    total = (weight * (predicted - target).abs()).mean()
    return total / weight.mean().clamp(min=1e-8)


def widen(mask: Tensor, radius_px: int) -> Tensor:
    """(B, 1, H, W) a mask of 0 and 1, dilated by a disc."""
    reach = torch.arange(-radius_px, radius_px + 1, device=mask.device)
    disc = (reach[:, None] ** 2 + reach**2 <= radius_px**2).to(mask.dtype)
    return (F.conv2d(mask, disc[None, None], padding=radius_px) > 0.5).to(mask.dtype)
