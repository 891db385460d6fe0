"""The few shared building blocks of the decoders."""

from __future__ import annotations

from torch import nn

__all__ = ["conv_block", "deconv_block"]


def conv_block(inputs: int, outputs: int, *, kernel: int = 3, bias: bool = False) -> nn.Sequential:
    """Convolution (same size) → batch norm → ReLU. The norm makes a bias idle; published weights may have one."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def deconv_block(inputs: int, outputs: int) -> nn.Sequential:
    """Transposed convolution (twice the size) → convolution → batch norm → ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2),
        nn.Conv2d(outputs, outputs, kernel_size=3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
