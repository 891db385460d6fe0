"""Feature levels of any encoder brought onto a pyramid whose strides double."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.decoders.blocks import conv_block, deconv_block
from histocyte.encoders.protocol import EncoderInfo

__all__ = ["TapsToPyramid", "fits_the_image", "level_strides", "resized_like", "share_a_stride"]


def share_a_stride(encoder: EncoderInfo) -> bool:
    """Whether the levels are taps of one grid, as a vision transformer's."""
    return len(set(encoder.strides)) == 1


def fits_the_image(encoder: EncoderInfo) -> bool:
    """Whether levels cover the image exactly: strides are powers of 2 and the image is never resized for the encoder.

    A vision transformer with a patch of 14 px does not: it is given a slightly smaller image.
    """
    powers = all(stride & (stride - 1) == 0 for stride in encoder.strides)
    return powers and encoder.multiple % max(encoder.strides) == 0


def level_strides(encoder: EncoderInfo) -> tuple[int, ...]:
    """Strides that double from level to level, fine to coarse; of a pyramid, its own.

    Taps of one grid are spread: the deepest stays at the grid, the next is twice as fine, and so on. A patch of 14 px
    counts as 16.

    Args:
        encoder: Facts of the levels.

    Raises:
        InputError: A pyramid whose strides do not double, or more taps than a patch can be spread to.
    """
    strides, count = encoder.strides, len(encoder.strides)
    if count > 1 and not share_a_stride(encoder):
        if any(b != 2 * a for a, b in zip(strides, strides[1:], strict=False)):
            raise InputError(
                f"A decoder needs levels of one stride, or of strides that double; this encoder has {list(strides)}."
            )
        return strides
    grid = int(2 ** round(math.log2(strides[-1])))
    if grid >> (count - 1) == 0:
        raise InputError(
            f"{count} taps of a patch of {strides[-1]} px would be spread beyond the image's own pixels; tap fewer."
        )
    return tuple(grid >> (count - 1 - level) for level in range(count))


def resized_like(x: Tensor, other: Tensor, *, mode: str = "bilinear") -> Tensor:
    """`x` (B, C, h, w) at the height and width of another tensor."""
    return F.interpolate(x, size=other.shape[-2:], mode=mode)


class TapsToPyramid(nn.Module):
    """Taps of one grid → levels whose strides double: the deepest as it is, the next doubled once, and so on.

    As UNETR does it (Hatamizadeh et al. 2022), by transposed convolutions, but onto widths that are the same for every
    encoder.

    Args:
        encoder: Facts of the taps.
        widths: Channels of each level, fine to coarse.
    """

    def __init__(self, encoder: EncoderInfo, widths: Sequence[int]) -> None:
        super().__init__()
        count = len(encoder.widths)
        self.climbs = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(zip(encoder.widths, widths, strict=True)):
            doublings = count - 1 - level
            # Channels shrink as the grid grows: those of the coarser levels, on the way to this one's.
            way = [min(inputs, outputs << (doublings - 1 - step)) for step in range(doublings - 1)] + [outputs]
            if doublings == 0:
                self.climbs.append(conv_block(inputs, outputs, kernel=1))
                continue
            layers = [deconv_block(a, b) for a, b in zip([inputs, *way], way, strict=False)]
            self.climbs.append(nn.Sequential(*layers))

    def forward(self, taps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels, fine to coarse."""
        return tuple(climb(tap) for climb, tap in zip(self.climbs, taps, strict=True))
