"""One small head per map: from a decoder's features to raw channels at the image's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.core.maps import MapSpec

__all__ = ["PixelShuffleHeads", "PointwiseHeads"]


class PixelShuffleHeads(nn.Module):
    """(B, D, H / s, W / s) → (B, C, H, W): each coarse pixel predicts its s × s fine ones (Shi et al. 2016).

    Args:
        width: D.
        stride: s.
        specs: The maps; C is the sum of their channels, in this order.
    """

    def __init__(self, width: int, stride: int, specs: Sequence[MapSpec]) -> None:
        super().__init__()
        square = stride * stride
        self.heads = nn.ModuleList([nn.Conv2d(width, spec.channels * square, 3, padding=1) for spec in specs])
        self.shuffle = nn.PixelShuffle(stride)

    def forward(self, features: Tensor) -> Tensor:
        """Raw channels of all maps, stacked."""
        return torch.cat([self.shuffle(head(features)) for head in self.heads], dim=1)


class PointwiseHeads(nn.Module):
    """(B, D, H / s, W / s) → (B, C, H, W): a 1 × 1 convolution per map, resized (bilinear) where s > 1.

    Args:
        width: D.
        stride: s.
        specs: The maps; C is the sum of their channels, in this order.
        own_branch: D holds one equal part for each map, in this order, from a decoder with as many branches, and each
            head reads its own; else every head reads all of D.

    Raises:
        InputError: D cannot be shared out evenly.
    """

    def __init__(self, width: int, stride: int, specs: Sequence[MapSpec], *, own_branch: bool = False) -> None:
        super().__init__()
        self.parts = len(specs) if own_branch else 1
        if width % self.parts:
            raise InputError(
                f"{len(specs)} heads with a branch each cannot share the decoder's {width} channels evenly; "
                f"give the decoder {len(specs)} branches or the heads own_branch=False."
            )
        self.heads = nn.ModuleList([nn.Conv2d(width // self.parts, spec.channels, 1) for spec in specs])
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """Raw channels of all maps, stacked."""
        parts = features.chunk(self.parts, dim=1) if self.parts > 1 else (features,) * len(self.heads)
        raw = torch.cat([head(part) for head, part in zip(self.heads, parts, strict=True)], dim=1)
        return raw if self.stride == 1 else F.interpolate(raw, scale_factor=float(self.stride), mode="bilinear")
