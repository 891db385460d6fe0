"""HoVer-Net's decoder: for each map a way up of its own, through densely connected units.

Graham et al. 2019 (HoVer-Net, doi 10.1016/j.media.2019.101563), on Huang et al. 2017 (DenseNet,
doi 10.1109/CVPR.2017.243) and Xie et al. 2017 (grouped convolutions, doi 10.1109/CVPR.2017.634).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["HoverBranches", "double"]

_GROWTH, _INNER, _GROUPS = 32, 128, 4
"""Channels a dense unit adds, channels it works with, and the groups of its convolution."""
_LAST = 64
"""Channels of each branch at the end."""


class HoverBranches(nn.Module):
    """Features of a pyramid whose strides double → (B, 64 · branches, H / s, W / s), s the finest stride.

    Each step doubles the size (nearest), adds the next finer level of the encoder and convolves; all but the last then
    go through dense units. The branches' channels lie one after the other.

    Args:
        encoder: Facts of the pyramid.
        branches: Ways up with weights of their own; HoVer-Net gives each map one.
        widths: Channels of each step's first convolution, coarse to fine, one less than the pyramid has levels; the
            last is `branches`' own width. HoVer-Net's where None, and 64 for any finer step.
        units: Dense units of each step; HoVer-Net's (8, 4, 0) where None, and none for any finer step.
        kernel: Kernel of the convolutions, 3 (the fast HoVer-Net) or 5 (the original).
        padding: "same" pads them with zeros. "valid" does not, but for the last step, as published: what comes out is
            smaller, and the encoder must have mirrored a border that makes up for it; cut to the image's size here.

    Raises:
        InputError: A pyramid whose strides do not double, or widths and units that do not fit it.
    """

    def __init__(
        self,
        encoder: EncoderInfo,
        *,
        branches: int = 3,
        widths: Sequence[int] | None = None,
        units: Sequence[int] | None = None,
        kernel: int = 3,
        padding: Literal["same", "valid"] = "same",
    ) -> None:
        super().__init__()
        steps = len(encoder.widths) - 1
        if steps < 1 or any(b != 2 * a for a, b in zip(encoder.strides, encoder.strides[1:], strict=False)):
            raise InputError(
                f"HoVer-Net's branches need a pyramid whose strides double; this encoder has strides "
                f"{list(encoder.strides)}. Use the decoder 'unetr' for a vision transformer."
            )
        widths = (256, 128, *(_LAST,) * steps)[: steps - 1] + (_LAST,) if widths is None else tuple(widths)
        units = (8, 4, *(0,) * steps)[: steps - 1] + (0,) if units is None else tuple(units)
        if len(widths) != steps or len(units) != steps or kernel % 2 == 0 or padding not in ("same", "valid"):
            raise InputError(
                f"HoVer-Net's branches over {steps + 1} levels need {steps} widths and units, an odd kernel and "
                f"padding 'same' or 'valid'; got {list(widths)}, {list(units)}, {kernel} and '{padding}'."
            )
        coarse, *finer = encoder.widths[::-1]
        self.bottom = nn.Conv2d(coarse, finer[0], 1, bias=False)
        self.branches = nn.ModuleList(
            [_Branch(finer, widths, units, kernel, valid=padding == "valid") for _ in range(branches)]
        )
        self.width, self.stride = widths[-1] * branches, encoder.strides[0]

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; `image` is the normalised one that the encoder was given, without any border.

        Raises:
            InputError: The maps do not reach the image's border.
        """
        climbed = self.climb(features.pyramid)
        height, width = (side // self.stride for side in image.shape[-2:])
        # While a graph is exported sides are symbols, and asking would tie the graph to the example's.
        if not torch.compiler.is_exporting() and (climbed.shape[-2] < height or climbed.shape[-1] < width):
            raise InputError(
                f"Unpadded convolutions leave {climbed.shape[-2]} × {climbed.shape[-1]} of {height} × {width} px; use "
                "padding='same', or an encoder that mirrors a border first ('hovernet' with mirror_px)."
            )
        return _centre(climbed, height, width)

    def climb(self, pyramid: Sequence[Tensor]) -> Tensor:
        """All branches' features of a pyramid (fine to coarse), as large as they come."""
        *finer, coarse = pyramid
        bottom = self.bottom(coarse)
        return torch.cat([branch(bottom, finer[::-1]) for branch in self.branches], dim=1)


class _Branch(nn.Module):
    def __init__(
        self, levels: Sequence[int], widths: Sequence[int], units: Sequence[int], kernel: int, *, valid: bool
    ) -> None:
        super().__init__()
        last = len(levels) - 1
        self.steps = nn.ModuleList(
            [
                # The last step is padded in either mode, as published.
                _Step(level, width, units[i], None if i == last else levels[i + 1], kernel, valid=valid and i < last)
                for i, (level, width) in enumerate(zip(levels, widths, strict=True))
            ]
        )
        self.norm = nn.BatchNorm2d(widths[-1] + _GROWTH * units[-1])
        # Px that x has lost on each side when it meets each level.
        self.lost = [0]
        for count in units[:-1]:
            self.lost.append(2 * (self.lost[-1] + (kernel // 2 * (1 + count) if valid else 0)))

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        for step, skip, lost in zip(self.steps, skips, self.lost, strict=True):
            x = step(double(x) + _without_border(skip, lost))
        return F.relu(self.norm(x))


class _Step(nn.Module):
    """Convolution → dense units → 1 × 1 convolution to the next level's width, where there is a next one."""

    def __init__(self, inputs: int, width: int, units: int, outputs: int | None, kernel: int, *, valid: bool) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, width, kernel, padding=0 if valid else kernel // 2, bias=False)
        self.dense = _Dense(width, units, kernel, valid=valid) if units else None
        grown = width + _GROWTH * units
        self.leave = None if outputs is None else nn.Conv2d(grown, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        if self.dense is not None:
            x = self.dense(x)
        return x if self.leave is None else self.leave(x)


class _Dense(nn.Module):
    """Each unit sees all that came before it and adds its own channels."""

    def __init__(self, width: int, units: int, kernel: int, *, valid: bool) -> None:
        super().__init__()
        self.units = nn.ModuleList([_DenseUnit(width + _GROWTH * i, kernel, valid=valid) for i in range(units)])
        self.norm = nn.BatchNorm2d(width + _GROWTH * units)
        self.lost = kernel // 2 if valid else 0

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = torch.cat([_without_border(x, self.lost), unit(x)], dim=1)
        return F.relu(self.norm(x))


class _DenseUnit(nn.Module):
    def __init__(self, inputs: int, kernel: int, *, valid: bool) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, _INNER, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_INNER)
        padding = 0 if valid else kernel // 2
        self.conv2 = nn.Conv2d(_INNER, _GROWTH, kernel, padding=padding, groups=_GROUPS, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.norm1(x)))
        out: Tensor = self.conv2(F.relu(self.norm2(x)))
        return out


def double(x: Tensor) -> Tensor:
    """Twice the size, each pixel becoming four."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _without_border(x: Tensor, border: int) -> Tensor:
    return x[..., border:-border, border:-border] if border else x


def _centre(x: Tensor, height: int, width: int) -> Tensor:
    """The middle (B, C, height, width) of a map; of two middles the upper left one."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]
