"""Overlap losses: Dice and Tversky, focal and class by class. Shapes: B batch, C channels, H W pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dice", "focal_tversky", "multiclass_focal_tversky", "pixel_tversky", "tversky"]


def dice(probabilities: Tensor, target: Tensor, mask: Tensor | None = None, *, smooth: float = 1e-3) -> Tensor:
    """Σ_c 1 - (2 Σ p_c t_c + s) / (Σ p_c + Σ t_c + s), sums over the batch and all pixels (CellViT, spec of HoVer-Net).

    Args:
        probabilities: (B, C, H, W).
        target: (B, C, H, W) one-hot.
        mask: (B, 1, H, W) of 0 and 1: the pixels that count; all where None.
        smooth: s.
    """
    if mask is not None:
        probabilities, target = probabilities * mask, target * mask
    over = (0, 2, 3)
    overlap = (probabilities * target).sum(over)
    total = probabilities.sum(over) + target.sum(over)
    return (1 - (2 * overlap + smooth) / (total + smooth)).sum()


def _tversky_index(p: Tensor, t: Tensor, false_negative: float, false_positive: float, smooth: float) -> Tensor:
    hit, extra, missed = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
    return (hit + smooth) / (hit + false_negative * missed + false_positive * extra + smooth)


def focal_tversky(
    probabilities: Tensor,
    target: Tensor,
    *,
    false_negative: float = 0.7,
    false_positive: float = 0.3,
    gamma: float = 4 / 3,
    smooth: float = 1e-6,
) -> Tensor:
    """(1 - TI)^γ with all channels taken together (Abraham & Khan 2019, constants of CellViT).

    Args:
        probabilities: (B, C, H, W).
        target: (B, C, H, W) one-hot.
        false_negative: Weight of missed mass, α.
        false_positive: Weight of surplus mass, β.
        gamma: Focus exponent.
        smooth: Added to both sides of the fraction.
    """
    index = _tversky_index(probabilities, target, false_negative, false_positive, smooth)
    return (1 - index).clamp(min=0) ** gamma


def multiclass_focal_tversky(probabilities: Tensor, target: Tensor) -> Tensor:
    """`focal_tversky` of each channel by itself, summed over channels; (B, C, H, W) both."""
    channels = range(probabilities.shape[1])
    return torch.stack([focal_tversky(probabilities[:, c], target[:, c]) for c in channels]).sum()


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
