"""One small head per map: from a decoder's features to raw channels at the image's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from histocyte.core.maps import MapSpec

__all__ = ["PixelShuffleHeads"]


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
