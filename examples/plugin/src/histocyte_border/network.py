"""An encoder and a decoder of one's own: all that histocyte asks of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["PlainCNN", "SumUp"]


class PlainCNN(nn.Module):
    """A few convolutions at strides 2, 4, 8."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, w, 3, stride=2, padding=1), nn.BatchNorm2d(w), nn.ReLU())
            for i, w in zip(inputs, widths, strict=True)
        )
        strides = tuple(2 ** (n + 1) for n in range(len(widths)))
        self.info = EncoderInfo(tuple(widths), strides, strides[-1])

    def forward(self, image: Tensor) -> Features:
        """Feature maps, fine to coarse."""
        pyramid = []
        for stage in self.stages:
            image = stage(image)
            pyramid.append(image)
        return Features(tuple(pyramid))


class SumUp(nn.Module):
    """Every level brought to one width and the finest size, and added up."""

    def __init__(self, encoder: EncoderInfo, *, width: int = 32) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(w, width, 1) for w in encoder.widths)
        self.width, self.stride = width, encoder.strides[0]

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; the image is not looked at again."""
        size = features.pyramid[0].shape[-2:]
        total = self.levels[0](features.pyramid[0])
        for level, convolution in zip(features.pyramid[1:], list(self.levels)[1:], strict=True):
            total = total + F.interpolate(convolution(level), size=size, mode="bilinear")
        return F.relu(total)
