"""A feature pyramid: levels of an encoder brought to one width each and summed, coarse to fine (Lin et al. 2017).

Made for processors: what comes from below is narrowed before it is enlarged, so that no wide map is ever enlarged,
joined or convolved in a transposed way, and nothing is computed at the image's own resolution. The image's pixels are
not lost: those of each place of the finest level are further channels of it. With heads that answer for every pixel of
such a place ("pixel_shuffle", Shi et al. 2016), outlines are as fine as the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.decoders.blocks import conv_block
from histocyte.decoders.levels import fits_the_image, level_strides, share_a_stride
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["FPN"]


class FPN(nn.Module):
    """Features of a pyramid whose strides double → (B, D, H / s, W / s), s the stride of its finest level.

    Args:
        encoder: Facts of the pyramid.
        widths: Channels after each step up, coarse to fine; one less than the pyramid has levels.
        depths: Convolutions in each step.

    Raises:
        InputError: Widths, depths and pyramid do not fit together, or the encoder has no pyramid.
    """

    def __init__(
        self, encoder: EncoderInfo, *, widths: Sequence[int] = (128, 80, 48), depths: Sequence[int] = (2, 2, 1)
    ) -> None:
        super().__init__()
        strides = level_strides(encoder)
        if share_a_stride(encoder) or not fits_the_image(encoder):
            raise InputError("A feature pyramid needs an encoder whose levels double in stride and cover the image.")
        if not len(widths) == len(depths) == len(strides) - 1:
            raise InputError(
                f"A feature pyramid over {len(strides)} levels needs {len(strides) - 1} widths and depths, got "
                f"{len(widths)} and {len(depths)}."
            )
        *finer, deepest = encoder.widths
        skips = [*finer[:0:-1], finer[0] + 3 * strides[0] ** 2]
        self.below = nn.ModuleList(
            [nn.Conv2d(a, b, 1, bias=False) for a, b in zip([deepest, *widths], widths, strict=False)]
        )
        self.beside = nn.ModuleList([nn.Conv2d(a, b, 1, bias=False) for a, b in zip(skips, widths, strict=True)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in widths])
        self.steps = nn.ModuleList(
            [
                nn.Sequential(*(conv_block(width, width) for _ in range(d)))
                for width, d in zip(widths, depths, strict=True)
            ]
        )
        self.width, self.stride = widths[-1], strides[0]

    def forward(self, features: Features, image: Tensor) -> Tensor:
        """Decode; `image` is the normalised one that the encoder saw."""
        *finer, x = features.pyramid
        pixels = torch.cat([finer[0], F.pixel_unshuffle(image, self.stride)], dim=1)
        parts = zip(self.below, self.beside, self.norms, self.steps, [*finer[:0:-1], pixels], strict=True)
        for below, beside, norm, step, skip in parts:
            enlarged = F.interpolate(below(x), scale_factor=2.0, mode="nearest")
            x = step(F.relu(norm(enlarged + beside(skip))))
        return x
