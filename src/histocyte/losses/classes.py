"""Losses of a class map beyond plain cross-entropy. Shapes: B batch, C classes, H W pixels.

As Shvetsov et al. 2025 (arXiv 2502.19217, see `recipes.lightweight_teacher`) train their class map, with the constants
of the library they build on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["class_weights", "focal", "smooth_in_space", "smoothed_cross_entropy"]


def focal(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    weights: Sequence[float] = (),
    alpha: float = 0.5,
    gamma: float = 2.0,
) -> Tensor:
    """Mean over pixels of -ω α Σ_c t_c (1 - p_c)^γ log p_c: what is sure already counts little.

    Lin et al. 2017, Focal loss (doi 10.1109/ICCV.2017.324).

    Args:
        logits: (B, C, H, W).
        target: (B, C, H, W) one-hot.
        mask: (B, 1, H, W) of 0 and 1: the pixels that count; all where None.
        weights: ω of the pixel's true class, C of them; all 1 where empty. The mean is not divided by them.
        alpha: α.
        gamma: γ.
    """
    log_p = logits.log_softmax(dim=1)
    per_pixel = -alpha * (target * (1 - log_p.exp()) ** gamma * log_p).sum(dim=1, keepdim=True)
    if weights:
        omega = torch.tensor(weights, dtype=logits.dtype, device=logits.device).view(1, -1, 1, 1)
        per_pixel = per_pixel * (target * omega).sum(dim=1, keepdim=True)
    return _mean(per_pixel, mask)


def smoothed_cross_entropy(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    in_space: bool = True,
    decoupling: float = 0.01,
) -> Tensor:
    """Mean over pixels of -Σ_c t_c log p_c + λ/2 mean_c z_c², with targets smoothed between neighbouring pixels.

    The second term, spectral decoupling (Pezeshki et al. 2021, Gradient starvation, arXiv 2011.09468), keeps logits z
    small, so that no single feature takes all of the gradient. Smoothing: see `smooth_in_space`.

    Args:
        logits: (B, C, H, W) z.
        target: (B, C, H, W) one-hot.
        mask: (B, 1, H, W) of 0 and 1: the pixels that count; all where None.
        in_space: Smooth the targets.
        decoupling: λ.
    """
    aim = smooth_in_space(target) if in_space else target
    per_pixel = -(aim * logits.log_softmax(dim=1)).sum(dim=1, keepdim=True)
    return _mean(per_pixel + 0.5 * decoupling * (logits**2).mean(dim=1, keepdim=True), mask)


def smooth_in_space(target: Tensor, *, size: int = 5, sigma: float = 3.0) -> Tensor:
    """(B, C, H, W) one-hot targets of which half is spread over the neighbourhood: doubt only where classes meet.

    Islam & Glocker 2021, Spatially varying label smoothing (arXiv 2104.05788). The centre of a Gaussian kernel weighs
    as much as all its neighbours together; beyond the image its rim goes on.

    Args:
        target: (B, C, H, W) one-hot.
        size: Side of the kernel, odd.
        sigma: Sigma of the Gaussian, px.
    """
    reach = torch.arange(size, dtype=target.dtype, device=target.device) - size // 2
    bell = torch.exp(-0.5 * (reach / sigma) ** 2)
    kernel = bell[:, None] * bell[None, :]
    kernel[size // 2, size // 2] = 0
    kernel = 0.5 * kernel / kernel.sum()
    kernel[size // 2, size // 2] = 0.5
    padded = F.pad(target, [size // 2] * 4, mode="replicate")
    return F.conv2d(padded, kernel.expand(target.shape[1], 1, size, size), groups=target.shape[1])


def class_weights(counts: Sequence[int], *, largest: float = 10.0) -> tuple[float, ...]:
    """Weights for `focal` from how often each class was seen: background 1, rare classes more, mean 1 over classes.

    ω ∝ √(median / count), not more than `largest`; a class never seen gets `largest`.

    Args:
        counts: Cells of each class, background left out.
        largest: Largest value of any weight.

    >>> class_weights([400, 100, 25])
    (1.0, 0.42857142857142855, 0.8571428571428571, 1.7142857142857142)
    """
    seen = sorted(count for count in counts if count > 0)
    median = seen[len(seen) // 2] if seen else 1
    raw = [(median / count) ** 0.5 if count > 0 else 0.0 for count in counts]
    mean = sum(raw) / max(1, len(seen))
    return (1.0, *(min(largest, value / mean) if value > 0 else largest for value in raw))


def _mean(per_pixel: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return per_pixel.mean()
    return (per_pixel * mask).sum() / mask.sum().clamp(min=1.0)
