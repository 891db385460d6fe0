"""DPT: levels brought to one width and fused from coarse to fine through residual units.

Ranftl et al. 2021 (Vision Transformers for Dense Prediction, doi 10.1109/ICCV48922.2021.01196).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.decoders.blocks import conv_block
from histocyte.decoders.levels import fits_the_image, level_strides, resized_like, share_a_stride
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["DPT"]

_IMAGE_WIDTH = 16
"""Channels worked out of the image where it is joined at the end."""


class DPT(nn.Module):
    """Taps of one grid, or a pyramid whose strides double → (B, D, H / s, W / s).

    Taps are reassembled at strides that double, the last but one at the grid (of four: 4, 8, 16, 32 for a patch of
    16 px). Each level is convolved to one width; from coarse to fine, the sum so far and the next level, each through a
    residual unit, are added, doubled in size and projected.

    Args:
        encoder: Facts of the levels.
        width: Channels of all levels and of the fusion.
        last: D.
        to_image: End at the image's resolution (s = 1) and look at its pixels once more, which outlines gain by;
            otherwise at half the finest level's stride, as in the paper before its head.

    Raises:
        InputError: Strides that neither double nor are all the same, or levels that do not cover the image exactly and
            are not to end there.
    """

    def __init__(self, encoder: EncoderInfo, *, width: int = 256, last: int = 32, to_image: bool = True) -> None:
        super().__init__()
        strides = level_strides(encoder)
        self.exact = fits_the_image(encoder)
        if not to_image and not self.exact:
            raise InputError(
                f"This encoder's levels do not cover the image exactly (strides {list(encoder.strides)}); "
                "build the DPT with to_image=True."
            )
        taps, count = share_a_stride(encoder), len(strides)
        # Of one grid, the deepest is halved and the next one stays: once coarser than `level_strides` has it.
        coarser = taps and count > 1
        self.reassemble = nn.ModuleList(
            [_reassemble(inputs, width, count - 2 - i if coarser else 0) for i, inputs in enumerate(encoder.widths)]
        )
        self.fusions = nn.ModuleList([_Fusion(width, joins=i > 0) for i in range(count)])
        finest = strides[0] * (2 if coarser else 1)
        self.doubles_last = finest > 1
        self.image = conv_block(3, _IMAGE_WIDTH) if to_image else None
        self.narrow = conv_block(width, last)
        self.tail = conv_block(last + _IMAGE_WIDTH, last) if to_image else None
        self.width = last
        self.stride = 1 if to_image else max(1, finest // 2)

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; `image` is the normalised one that the encoder saw."""
        levels = [assemble(level) for assemble, level in zip(self.reassemble, features.pyramid, strict=True)]
        x = self.fusions[0](levels[-1], None)
        for fusion, level in zip(list(self.fusions)[1:], levels[-2::-1], strict=True):
            # By size, not by a factor: half of an odd grid is rounded up.
            x = fusion(resized_like(x, level), level)
        x = self.narrow(x)
        if self.image is None or self.tail is None:
            return F.interpolate(x, scale_factor=2.0, mode="bilinear") if self.doubles_last else x
        return self.tail(torch.cat([resized_like(x, image), self.image(image)], dim=1))


class _Residual(nn.Module):
    """Two convolutions, each after a ReLU and before a batch norm, and what came in (residual unit)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class _Fusion(nn.Module):
    """The sum so far and a level → the next sum, at the level's size; resizing and projection commute."""

    def __init__(self, width: int, *, joins: bool) -> None:
        super().__init__()
        self.enter = _Residual(width) if joins else None
        self.leave = _Residual(width)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, level: Tensor | None) -> Tensor:
        if self.enter is not None and level is not None:
            x = x + self.enter(level)
        projected: Tensor = self.project(self.leave(x))
        return projected


def _reassemble(inputs: int, width: int, doublings: int) -> nn.Sequential:
    """To the common width, at 2^doublings times the size (-1: half of it)."""
    layers: list[nn.Module] = []
    if doublings > 0:
        factor = 1 << doublings
        layers.append(nn.Conv2d(inputs, width, 1))
        layers.append(nn.ConvTranspose2d(width, width, factor, stride=factor))
        inputs = width
    elif doublings < 0:
        layers.append(nn.Conv2d(inputs, width, 3, stride=2, padding=1))
        inputs = width
    return nn.Sequential(*layers, nn.Conv2d(inputs, width, 3, padding=1, bias=False))
