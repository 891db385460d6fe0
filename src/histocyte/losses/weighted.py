"""Regression errors under weights of each pixel. Shapes: B batch, C channels, H W pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["diagonal_gradient_error", "widen", "weighted_absolute_error"]


def widen(mask: Tensor, radius_px: int) -> Tensor:
    """(B, 1, H, W) a mask of 0 and 1, dilated by a disc."""
    reach = torch.arange(-radius_px, radius_px + 1, device=mask.device)
    disc = (reach[:, None] ** 2 + reach**2 <= radius_px**2).to(mask.dtype)
    return (F.conv2d(mask, disc[None, None], padding=radius_px) > 0.5).to(mask.dtype)


def weighted_absolute_error(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean of |difference| under weights (B, 1, H, W), over all channels of (B, C, H, W); 0 without any weight."""
    total = (weight * (predicted - target).abs()).mean()
    return total / weight.mean().clamp(min=1e-8)


def diagonal_gradient_error(predicted: Tensor, target: Tensor, weight: Tensor, *, size: int = 5) -> Tensor:
    """Mean squared difference of the gradients of two diagonal distances, each along its own diagonal.

    Args:
        predicted: (B, 2, H, W) distance from the top left and from the bottom left.
        target: (B, 2, H, W).
        weight: (B, 1, H, W) of each pixel.
        size: Side of the derivative kernels (Vadori et al., CISCA, arXiv 2409.04175).
    """
    reach = torch.arange(-(size // 2), size // 2 + 1, dtype=predicted.dtype, device=predicted.device)
    square = (reach**2 + reach[:, None] ** 2).clamp(min=1)
    first = (reach + reach[:, None]) / square
    kernels = torch.stack([first, torch.rot90(first)])[:, None]
    difference = F.conv2d(predicted - target, kernels, padding=size // 2, groups=2)
    return (weight * difference**2).mean() / weight.mean().clamp(min=1e-8)
