"""A light fully convolutional head: all levels at one size, summed up to one width, then a few convolutions.

Long et al. 2015 (doi 10.1109/CVPR.2015.7298965) in the form that reads features of frozen encoders, such as a diffusion
model's (PathSegDiff, arXiv 2504.06950).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.decoders.blocks import conv_block
from histocyte.decoders.levels import fits_the_image, resized_like
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["FCN"]


class FCN(nn.Module):
    """Levels of any strides → (B, D, H / s, W / s).

    Every level is normalised by itself, brought to the finest level's size (bilinear) and joined through a 1 × 1
    convolution; each further step doubles the size, as long as there is a finer one, and convolves 3 × 3.

    Args:
        encoder: Facts of the levels.
        widths: Channels after joining and after each further step; the last is D. The stride s is the finest level's,
            halved by each step down to 1; where levels do not cover the image exactly, the last step brings them to
            the image's size.

    Raises:
        InputError: No widths.
    """

    def __init__(self, encoder: EncoderInfo, *, widths: Sequence[int] = (256, 128, 64)) -> None:
        super().__init__()
        if not widths:
            raise InputError("An FCN needs at least one width: the channels that all levels are joined to.")
        finest = min(encoder.strides)
        self.finest = encoder.strides.index(finest)
        self.coarser = [stride > finest for stride in encoder.strides]
        self.levels = nn.ModuleList(
            [nn.Sequential(nn.BatchNorm2d(w), nn.Conv2d(w, widths[0], 1, bias=False)) for w in encoder.widths]
        )
        self.joined = nn.Sequential(nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.steps = nn.ModuleList([conv_block(a, b) for a, b in zip(widths, widths[1:], strict=False)])
        self.exact = fits_the_image(encoder)
        stride, self.doubles = int(2 ** round(math.log2(finest))), []
        for _ in self.steps:
            self.doubles.append(stride > 1)
            stride = max(1, stride // 2)
        self.width, self.stride = widths[-1], stride if self.exact else 1

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; of `image`, the normalised one that the encoder saw, the size alone is used, if at all."""
        finest = features.pyramid[self.finest]
        # A 1 × 1 convolution of the levels side by side is the sum of one of each, and can go before the resizing.
        reduced = [level(tap) for level, tap in zip(self.levels, features.pyramid, strict=True)]
        x = reduced[self.finest]
        for number, level in enumerate(reduced):
            if number != self.finest:
                x = x + (resized_like(level, finest) if self.coarser[number] else level)
        x = self.joined(x)
        last = len(self.steps) - 1
        for number, (step, doubles) in enumerate(zip(self.steps, self.doubles, strict=True)):
            if number == last and not self.exact:
                x = resized_like(x, image)
            elif doubles:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = step(x)
        return x if self.exact or last >= 0 else resized_like(x, image)
