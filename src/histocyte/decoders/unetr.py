"""UNETR: a vision transformer's taps and the image itself, joined while climbing to full resolution.

Hatamizadeh et al. 2022 (UNETR, doi 10.1109/WACV51458.2022.00181), in the widths and with the branches of CellViT
(Hörst et al. 2024, doi 10.1016/j.media.2024.103143).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.decoders.blocks import conv_block, deconv_block
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["UNETR"]

_WIDTH = 64
"""Channels of each branch at full resolution."""


class UNETR(nn.Module):
    """Four taps of one grid, shallow to deep, and the image → (B, 64 · branches, H, W).

    The skips are computed once and shared by all branches. A token is worked up to 16 × 16 pixels; where the encoder's
    patch has another size, image and tokens are brought together before the last step (CellViT++).

    Args:
        encoder: Facts of the four taps.
        branches: Ways up with weights of their own, their channels one after the other; CellViT gives each map one.
        widths: Channels of the skips' first and second step up, and of the deepest step; where None as CellViT has
            them, 256, 128, 312 for encoders narrower than 512 and 512, 256, 512 for all others.

    Raises:
        InputError: The encoder has no four taps of equal width and stride, or there are not three widths.
    """

    def __init__(self, encoder: EncoderInfo, *, branches: int = 1, widths: Sequence[int] | None = None) -> None:
        super().__init__()
        if len(encoder.widths) != 4 or len(set(encoder.widths)) > 1 or len(set(encoder.strides)) > 1:
            raise InputError(
                f"UNETR needs four taps of equal width and stride, as a ViT gives; this encoder has widths "
                f"{list(encoder.widths)} at strides {list(encoder.strides)}. Use the decoder 'unet' for a pyramid."
            )
        embedding = encoder.widths[0]
        if widths is None:
            widths = (256, 128, 312) if embedding < 512 else (512, 256, 512)
        if len(widths) != 3 or min(widths) < 1:
            raise InputError(
                f"UNETR takes three widths, of the skips' first and second step and of the deepest one, got "
                f"{list(widths)}."
            )
        inner, middle, bottleneck = widths
        self.skips = nn.ModuleList(
            [
                nn.Sequential(conv_block(3, 32, bias=True), conv_block(32, _WIDTH, bias=True)),
                nn.Sequential(deconv_block(embedding, inner), deconv_block(inner, middle), deconv_block(middle, 128)),
                nn.Sequential(deconv_block(embedding, inner), deconv_block(inner, 256)),
                nn.Sequential(deconv_block(embedding, bottleneck)),
            ]
        )
        self.branches = nn.ModuleList([_Branch(embedding, bottleneck) for _ in range(branches)])
        self.patch = encoder.strides[0]
        self.width, self.stride = _WIDTH * branches, 1

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; `image` is the normalised one that the encoder saw."""
        *shallow, deepest = features.pyramid
        size = image.shape[-2:]
        grid = (deepest.shape[-2] * self.patch, deepest.shape[-1] * self.patch)
        seen = image if self.patch == 16 else F.interpolate(image, size=grid, mode="area")
        skips = [skip(level) for skip, level in zip(self.skips, (seen, *shallow), strict=True)]
        if self.patch != 16:
            skips[0] = F.interpolate(skips[0], size=size, mode="bilinear")
        return torch.cat([branch(deepest, skips[::-1]) for branch in self.branches], dim=1)


class _Branch(nn.Module):
    """One way up from the deepest tap, past the skips."""

    def __init__(self, embedding: int, bottleneck: int) -> None:
        super().__init__()
        self.bottleneck = _double(embedding, bottleneck)
        self.steps = nn.ModuleList(
            [
                _step(2 * bottleneck, bottleneck, 3, up=256),
                _step(2 * 256, 256, 2, up=128),
                _step(2 * 128, 128, 2, up=_WIDTH),
                _step(2 * _WIDTH, _WIDTH, 2),
            ]
        )

    def forward(self, deepest: Tensor, skips: Sequence[Tensor]) -> Tensor:
        x: Tensor = self.bottleneck(deepest)
        for skip, step in zip(skips, self.steps, strict=True):
            if x.shape[-2:] != skip.shape[-2:]:
                x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear")
            x = step(torch.cat([skip, x], dim=1))
        return x


def _double(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2)


def _step(inputs: int, width: int, depth: int, *, up: int | None = None) -> nn.Sequential:
    """`depth` convolutions, then twice the size if there is a next step."""
    layers: list[nn.Module] = [conv_block(inputs, width, bias=True)]
    layers += [conv_block(width, width, bias=True) for _ in range(depth - 1)]
    return nn.Sequential(*layers, *([] if up is None else [_double(width, up)]))
