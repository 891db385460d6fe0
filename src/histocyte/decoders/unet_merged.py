"""A trained U-Net with fewer operations: the same maps, quicker and in less memory.

A step of a U-Net enlarges what comes from below to twice its size by repeating pixels, puts the skip's channels beside
it, and convolves both. Convolution is linear: it is the sum of a convolution of either part. And a 3 × 3 convolution of
repeated pixels is a transposed convolution of the pixels themselves, of stride 2, with the 4 × 4 kernel that is the 3 ×
3 kernel spread over the four places of a repeated pixel. That multiplies 4 instead of 9 times for each output, and
neither the enlarged map nor the joined one is ever made. Batch norms are put into the weights.

Measured on the bundled model (`benchmarks/merged_unet.py`). Training keeps to the plain network.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.decoders.unet import UNet
from histocyte.encoders.protocol import Features

__all__ = ["MergedUNet", "spread_over_repeats"]


class MergedUNet(nn.Module):
    """What a `UNet` computes in inference mode, to rounding.

    Args:
        unet: Trained; its weights are copied where they are merged, and it stays as it is.
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.plain = unet
        self.width, self.stride = unet.width, unet.stride
        steps = zip(unet.steps, unet.from_below, unet.repeats, strict=True)
        self.steps = nn.ModuleList([_Merged(step, below) if repeats else step for step, below, repeats in steps])

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """As `UNet.forward`."""
        x, skips = self.plain.levels(features, image)
        for step, skip, repeats in zip(self.steps, skips, self.plain.repeats, strict=True):
            x = step(x, skip) if repeats else step(self.plain.joined(x, skip, repeats=False))
        return x


class _Merged(nn.Module):
    """One step: (B, C, h, w) from below and the skip (B, S, 2h, 2w) → (B, D, 2h, 2w)."""

    def __init__(self, step: nn.Module, below: int) -> None:
        super().__init__()
        assert isinstance(step, nn.Sequential)
        first, *rest = step
        assert isinstance(first, nn.Sequential)
        weight, bias = _with_norm(first)
        spread = spread_over_repeats(weight[:, :below])
        self.up = nn.ConvTranspose2d(below, len(weight), 4, stride=2, padding=1, bias=False)
        self.up.weight = nn.Parameter(spread)
        self.skip = nn.Conv2d(weight.shape[1] - below, len(weight), 3, padding=1)
        self.skip.weight, self.skip.bias = nn.Parameter(weight[:, below:].contiguous()), nn.Parameter(bias)
        self.rest = nn.Sequential(*rest)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.rest(F.relu(self.up(x) + self.skip(skip)))
        return out


@torch.no_grad()
def _with_norm(block: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Weight and bias of convolution and batch norm together (`decoders.blocks.conv_block`)."""
    conv, norm, _ = block
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = norm.bias - norm.running_mean * scale
    return conv.weight * scale[:, None, None, None], bias if conv.bias is None else bias + conv.bias * scale


@torch.no_grad()
def spread_over_repeats(weight: Tensor) -> Tensor:
    """The transposed convolution that is a 3 × 3 convolution of an image whose pixels are repeated twice a side.

    Args:
        weight: (D, C, 3, 3), of a convolution with a border of zeros.

    Returns:
        (C, D, 4, 4), for stride 2 and padding 1.
    """
    outputs, inputs = weight.shape[:2]
    spread = weight.new_zeros((inputs, outputs, 4, 4))
    for row in (0, 1):
        for column in (0, 1):
            spread[..., row : row + 3, column : column + 3] += weight.transpose(0, 1).flip(2, 3)
    return spread
