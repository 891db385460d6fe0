"""U-Net: climb an encoder's pyramid, level by level, joining each level's features (Ronneberger et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.decoders.blocks import conv_block
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["UNet"]


class UNet(nn.Module):
    """Features of a pyramid whose strides double → (B, D, H / s, W / s), s the finest stride of the pyramid.

    The climb stops at the finest feature level; the heads bring the maps to the image's size. A last level at full
    resolution would cost as much as all others together and adds no new features, only pixels.

    Args:
        encoder: Facts of the pyramid.
        widths: Channels after each step up, coarse to fine; one less than the pyramid has levels.
        depths: Convolutions in each step.
    """

    def __init__(
        self, encoder: EncoderInfo, *, widths: Sequence[int] = (128, 64, 48), depths: Sequence[int] = (2, 2, 1)
    ) -> None:
        super().__init__()
        if not len(widths) == len(depths) == len(encoder.widths) - 1:
            raise InputError(
                f"A U-Net over {len(encoder.widths)} levels needs {len(encoder.widths) - 1} widths and depths, "
                f"got {len(widths)} and {len(depths)}."
            )
        steps = []
        below = encoder.widths[-1]
        for skip, width, depth in zip(encoder.widths[-2::-1], widths, depths, strict=True):
            layers = [conv_block(below + skip, width), *(conv_block(width, width) for _ in range(depth - 1))]
            steps.append(nn.Sequential(*layers))
            below = width
        self.steps = nn.ModuleList(steps)
        self.width = below
        self.stride = encoder.strides[0]

    def forward(self, features: Features, image: Tensor) -> Tensor:  # noqa: ARG002
        """Decode; `image` is for decoders that look at the pixels again."""
        *skips, x = features.pyramid
        for skip, step in zip(reversed(skips), self.steps, strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = step(torch.cat([x, skip], dim=1))
        return x
