"""What an encoder is: an image in, features at several depths out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Encoder", "EncoderInfo", "Features"]


class Features(NamedTuple):
    """What an encoder gives for a batch of images (B, 3, H, W).

    Attributes:
        pyramid: Feature maps (B, D_i, H / s_i, W / s_i), shallow to deep; a CNN's fall in size, a ViT's taps share one
            stride. A ViT's are the un-normalised residual stream after each tapped block.
        tokens: (B, D, h, w) grid of the last block, for per-cell embeddings; None for a CNN.
        cls: (B, E) summary vector after the last norm; None where there is none.
    """

    pyramid: tuple[Tensor, ...]
    tokens: Tensor | None = None
    cls: Tensor | None = None


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Facts a decoder is built from.

    Attributes:
        widths: Channels of each map of the pyramid, shallow to deep.
        strides: Input px per feature px of each.
        multiple: Height and width of the input must be a multiple of this.
        summary_width: E of `Features.cls`; None where there is none.
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int
    summary_width: int | None = None


@runtime_checkable
class Encoder(Protocol):
    """An `nn.Module` with `info`."""

    info: EncoderInfo

    def __call__(self, image: Tensor) -> Features:
        """Features of normalised images (B, 3, H, W)."""
        ...
