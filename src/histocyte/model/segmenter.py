"""The network: image → maps, and stops. What is made of the maps is the representation's business."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from histocyte.core.maps import MapSpec

__all__ = ["Segmenter", "activate"]


def activate(raw: Tensor, specs: Sequence[MapSpec]) -> Tensor:
    """Raw channels (B, C, H, W) of all maps → what `decode` reads, each map by its spec's activation."""
    parts = []
    for spec, part in zip(specs, raw.split([s.channels for s in specs], dim=1), strict=True):
        if spec.activation == "sigmoid":
            parts.append(part.sigmoid())
        elif spec.activation == "softmax":
            parts.append(part.softmax(dim=1))
        else:
            parts.append(part)
    return torch.cat(parts, dim=1)


class Segmenter(nn.Module):
    """Encoder, decoder and heads joined.   image (B, 3, H, W) in 0–255 → raw maps (B, C, H, W)

    Args:
        encoder: Gives features (`encoders.protocol`).
        decoder: (features, image) → (B, D, H / s, W / s).
        heads: → raw channels at the image's size.
        specs: The maps, in channel order.
        mean: Per RGB channel, of images scaled to 0–1.
        std: Likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        heads: nn.Module,
        specs: Sequence[MapSpec],
        *,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.heads = encoder, decoder, heads
        self.specs = tuple(specs)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Raw channels of all maps; `activate` turns them into maps."""
        normalised = (image - self.mean) / self.std
        raw: Tensor = self.heads(self.decoder(self.encoder(normalised), normalised))
        return raw
