"""U-Net: climb an encoder's pyramid, level by level, joining each level's features (Ronneberger et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.decoders.blocks import conv_block
from histocyte.decoders.levels import TapsToPyramid, fits_the_image, level_strides, resized_like, share_a_stride
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["UNet"]

_IMAGE_WIDTH = 16
"""Channels worked out of the image where it is the last skip; twice as many at half its size, and so on."""
_TAP_WIDTH, _TAP_WIDTH_MOST = 32, 512
"""Channels that taps of one grid are brought to: times the stride they are spread to, up to the most."""


class UNet(nn.Module):
    """Features of a pyramid whose strides double → (B, D, H / s, W / s).

    The climb stops at the finest feature level (s its stride), and the heads bring the maps to the image's size; or,
    with more widths, it goes on to the image itself (s = 1), whose own pixels are then the last skip. A vision
    transformer's taps are first spread to a pyramid, the deepest at the grid and each shallower one twice as fine.

    Args:
        encoder: Facts of the pyramid or taps.
        widths: Channels after each step up, coarse to fine; one less than the pyramid has levels, or, to reach the
            image's resolution, one more for each doubling between the finest level and the image.
        depths: Convolutions in each step.

    Raises:
        InputError: Widths, depths and pyramid do not fit together.
    """

    def __init__(
        self, encoder: EncoderInfo, *, widths: Sequence[int] = (128, 64, 48), depths: Sequence[int] = (2, 2, 1)
    ) -> None:
        super().__init__()
        strides = level_strides(encoder)
        beyond = strides[0].bit_length() - 1  # doublings from the finest level to the image
        fewest = len(strides) - 1
        if len(widths) != len(depths) or len(widths) not in {fewest, fewest + beyond}:
            raise InputError(
                f"A U-Net over {len(strides)} levels needs {fewest} widths and depths, or {fewest + beyond} to end at "
                f"the image's resolution, got {len(widths)} and {len(depths)}."
            )
        self.exact = fits_the_image(encoder)
        self.to_image = len(widths) > fewest
        if not self.exact and not self.to_image:
            raise InputError(
                f"This encoder's levels do not cover the image exactly (strides {list(encoder.strides)}), so a U-Net "
                f"over them must end at the image's resolution: give it {fewest + beyond} widths and depths."
            )
        levels: Sequence[int] = encoder.widths
        self.spread: TapsToPyramid | None = None
        if share_a_stride(encoder):
            levels = [min(_TAP_WIDTH_MOST, _TAP_WIDTH * stride) for stride in strides]
            self.spread = TapsToPyramid(encoder, levels)
        seen = [_IMAGE_WIDTH << doubling for doubling in range(beyond if self.to_image else 0)]
        self.image = conv_block(3, _IMAGE_WIDTH) if self.to_image else None
        self.halvings = nn.ModuleList([_halving(a, b) for a, b in zip(seen, seen[1:], strict=False)])
        steps = []
        below = levels[-1]
        for skip, width, depth in zip([*levels[-2::-1], *seen[::-1]], widths, depths, strict=True):
            layers = [conv_block(below + skip, width), *(conv_block(width, width) for _ in range(depth - 1))]
            steps.append(nn.Sequential(*layers))
            below = width
        self.steps = nn.ModuleList(steps)
        self.from_below = (levels[-1], *widths[:-1])
        """Channels that come from below, by step; they stand before the skip's."""
        self.repeats = tuple(self.exact or number < fewest for number in range(len(widths)))
        """Whether a step enlarges these by repeating pixels; else they are brought to the skip's size."""
        self.width = below
        self.stride = 1 if self.to_image else strides[0]

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; `image` is the normalised one that the encoder saw."""
        x, skips = self.levels(features, image)
        for step, skip, repeats in zip(self.steps, skips, self.repeats, strict=True):
            x = step(self.joined(x, skip, repeats=repeats))
        return x

    def levels(self, features: Features, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The deepest level, and the skip of each step."""
        *skips, deepest = features.pyramid if self.spread is None else self.spread(features.pyramid)
        return deepest, [*skips[::-1], *self._seen(image)[::-1]]

    @staticmethod
    def joined(x: Tensor, skip: Tensor, *, repeats: bool) -> Tensor:
        """What comes from below, enlarged, and the skip's channels behind it."""
        enlarged = F.interpolate(x, scale_factor=2.0, mode="nearest") if repeats else resized_like(x, skip)
        return torch.cat([enlarged, skip], dim=1)

    def _seen(self, image: Tensor) -> list[Tensor]:
        """What is worked out of the image, at its size, half of it, and so on."""
        if self.image is None:
            return []
        seen = [self.image(image)]
        for halving in self.halvings:
            seen.append(halving(seen[-1]))
        return seen


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
