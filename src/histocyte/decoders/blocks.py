"""The few shared building blocks of the decoders."""

from __future__ import annotations

from torch import nn

__all__ = ["conv_block"]


def conv_block(inputs: int, outputs: int, *, kernel: int = 3) -> nn.Sequential:
    """Convolution (same size, no bias) → batch norm → ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
