"""How much of an image is left at each step of diffusion."""

from __future__ import annotations

import torch
from torch import Tensor

from histocyte.core.errors import InputError

__all__ = ["alphas_bar"]


def alphas_bar(steps: int = 1000, start: float = 0.0015, end: float = 0.0195) -> Tensor:
    """(steps,) share of the signal's variance that is left at each step, float64; step 0 has the least noise.

    The variance that each step adds grows as the square of an even line, as latent diffusion calls "linear" (Rombach et
    al. 2022, doi 10.1109/CVPR52688.2022.01042).

    Args:
        steps: Number of steps.
        start: Variance added by the first step.
        end: Variance added by the last step.

    Raises:
        InputError: No steps, or variances that are not between 0 and 1 in rising order.

    >>> [round(float(alphas_bar()[t]), 6) for t in (0, 50, 400)]
    [0.9985, 0.916687, 0.234447]
    """
    if steps < 1 or not 0 < start <= end < 1:
        raise InputError(
            f"A noise schedule needs 1 step or more and variances 0 < start ≤ end < 1; got {steps} steps from {start} "
            f"to {end}."
        )
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)
