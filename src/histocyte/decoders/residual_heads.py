"""CISCA's heads: residual units before each map, on features of their own for the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.maps import MapSpec
from histocyte.decoders.blocks import conv_block

__all__ = ["ResidualHeads"]

_WIDTH = 32
"""Channels of a head whose width nobody states."""


class ResidualHeads(nn.Module):
    """(B, D, H / s, W / s) → (B, C, H, W): for each map two residual units and a 1 × 1 convolution.

    What comes out is resized (bilinear) where s > 1. The maps of where cells are share one 3 × 3 convolution before
    their heads; the map "types", if there is one, has one of its own, since what tells classes apart is not what tells
    cells apart (Vadori et al., CISCA, arXiv 2409.04175).

    Args:
        width: D.
        stride: s.
        specs: The maps; C is the sum of their channels, in this order.
        features: Channels of these first convolutions.
        widths: Channels of the residual units by map name; 32 where not named.
    """

    def __init__(
        self,
        width: int,
        stride: int,
        specs: Sequence[MapSpec],
        *,
        features: int = 256,
        widths: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.of_types = [spec.name == "types" for spec in specs]
        self.cells = conv_block(width, features) if not all(self.of_types) else None
        self.classes = conv_block(width, features) if any(self.of_types) else None
        self.heads = nn.ModuleList(
            [_head(features, (widths or {}).get(spec.name, _WIDTH), spec.channels) for spec in specs]
        )
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """Raw channels of all maps, stacked."""
        cells = None if self.cells is None else self.cells(features)
        classes = None if self.classes is None else self.classes(features)
        parts = [head(classes if own else cells) for head, own in zip(self.heads, self.of_types, strict=True)]
        raw = torch.cat(parts, dim=1)
        return raw if self.stride == 1 else F.interpolate(raw, scale_factor=float(self.stride), mode="bilinear")


class _Residual(nn.Module):
    """Two convolutions and what came in, brought to the same width where it has another."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_block(inputs, outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.short = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.short(x))


def _head(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_Residual(inputs, width), _Residual(width, width), nn.Conv2d(width, outputs, 1))
