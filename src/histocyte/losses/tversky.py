"""Tversky losses, class by class. Shapes: B batch, C channels, H W pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pixel_tversky", "tversky"]


def tversky(
    probabilities: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    false_negative: float = 0.7,
    smooth: float = 1.0,
) -> Tensor:
    """Mean over classes of 1 - Tversky index, its sums over the batch and all pixels (Salehi et al. 2017).

    Args:
        probabilities: (B, C, H, W).
        target: (B, C, H, W) one-hot.
        mask: (B, 1, H, W) of 0 and 1: the pixels that count; all where None.
        false_negative: Weight of missed mass, α; surplus mass has 1 - α. doi 10.1007/978-3-319-67389-9_44.
        smooth: Added to both sides of the fraction, so that a class that is absent and not predicted costs nothing.
    """
    if mask is not None:
        probabilities, target = probabilities * mask, target * mask
    over = (0, 2, 3)
    hit, true, said = (probabilities * target).sum(over), target.sum(over), probabilities.sum(over)
    whole = false_negative * true + (1 - false_negative) * said
    return (1 - (hit + smooth) / (whole + smooth)).mean()


def pixel_tversky(
    probabilities: Tensor, target: Tensor, mask: Tensor | None = None, *, false_negative: float = 0.7
) -> Tensor:
    """Tversky loss of each pixel and class by itself, as CISCA was trained with; prefer `tversky`.

    Where a class is not true, a pixel costs 1 whatever the network says, unless it says almost 0: there is little to
    learn from there. Arguments as in `tversky`.
    """
    tiny = 1e-8
    whole = false_negative * target + (1 - false_negative) * probabilities
    per_pixel = (1 - (target * probabilities + tiny) / (whole + tiny)).mean(1, keepdim=True)
    if mask is None:
        return per_pixel.mean()
    return (per_pixel * mask).sum() / torch.clamp(mask.sum(), min=1.0)
