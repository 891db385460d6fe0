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

_IMAGE_WIDTH = 16
"""Channels worked out of the image where it is the last skip."""


class UNet(nn.Module):
    """Features of a pyramid whose strides double → (B, D, H / s, W / s).

    The climb stops at the finest feature level (s its stride), and the heads bring the maps to the image's size; or,
    with one more width, it goes on to the image itself (s = 1), whose own pixels are then the last skip.

    Args:
        encoder: Facts of the pyramid.
        widths: Channels after each step up, coarse to fine; one less than the pyramid has levels, or as many where the
            last step shall reach the image's resolution (the finest stride must then be 2).
        depths: Convolutions in each step.

    Raises:
        InputError: Widths, depths and pyramid do not fit together.
    """

    def __init__(
        self, encoder: EncoderInfo, *, widths: Sequence[int] = (128, 64, 48), depths: Sequence[int] = (2, 2, 1)
    ) -> None:
        super().__init__()
        levels = len(encoder.widths)
        if len(widths) != len(depths) or len(widths) not in {levels - 1, levels}:
            raise InputError(
                f"A U-Net over {levels} levels needs {levels - 1} widths and depths, or {levels} to end at the image's "
                f"resolution, got {len(widths)} and {len(depths)}."
            )
        self.to_image = len(widths) == levels
        if self.to_image and encoder.strides[0] != 2:
            raise InputError(
                f"A U-Net ends at the image's resolution from a level of stride 2; this encoder's finest has stride "
                f"{encoder.strides[0]}. Leave the last width out."
            )
        skips = [*encoder.widths[-2::-1], *([_IMAGE_WIDTH] if self.to_image else [])]
        self.image = conv_block(3, _IMAGE_WIDTH) if self.to_image else None
        steps = []
        below = encoder.widths[-1]
        for skip, width, depth in zip(skips, widths, depths, strict=True):
            layers = [conv_block(below + skip, width), *(conv_block(width, width) for _ in range(depth - 1))]
            steps.append(nn.Sequential(*layers))
            below = width
        self.steps = nn.ModuleList(steps)
        self.width = below
        self.stride = 1 if self.to_image else encoder.strides[0]

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; `image` is the normalised one that the encoder saw."""
        *skips, x = features.pyramid
        if self.image is not None:
            skips = [self.image(image), *skips]
        for skip, step in zip(reversed(skips), self.steps, strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = step(torch.cat([x, skip], dim=1))
        return x
