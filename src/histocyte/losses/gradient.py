"""Mean squared error of gradients: what makes the jump between touching nuclei sharp."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["diagonal_gradient_error", "gradient_error"]


def _kernels(size: int, *, transposed: bool, like: Tensor) -> Tensor:
    """(2, 1, size, size): derivative along x for channel 0, along y for channel 1."""
    reach = torch.arange(-(size // 2), size // 2 + 1, dtype=like.dtype, device=like.device)
    along, across = reach[None, :], reach[:, None]
    square = along**2 + across**2 + 1e-15
    kernel_x, kernel_y = along / square, across / square
    pair = [kernel_y, kernel_x] if transposed else [kernel_x, kernel_y]
    return torch.stack(pair)[:, None]


def gradient_error(
    predicted: Tensor, target: Tensor, focus: Tensor, *, size: int = 5, transposed: bool = False
) -> Tensor:
    """Mean squared difference of the hover maps' gradients inside nuclei (HoVer-Net's MSGE).

    Args:
        predicted: (B, 2, H, W) distances, x then y.
        target: (B, 2, H, W).
        focus: (B, 1, H, W), 1 inside nuclei.
        size: Side of the derivative kernel.
        transposed: As the PyTorch codes run it, where the x map is differentiated along y and the y map along x
            (`meshgrid` in "ij" order); the published weights were trained so.
    """
    kernels = _kernels(size, transposed=transposed, like=predicted)
    difference = F.conv2d(predicted - target, kernels, padding=size // 2, groups=2)
    focus = focus.expand_as(difference)
    return (focus * difference**2).sum() / (focus.sum() + 1e-8)


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
