"""The network: image → maps, and stops. What is made of the maps is the representation's business."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from histocyte.core.errors import ModelError
from histocyte.core.maps import MapSpec
from histocyte.encoders.protocol import Features

__all__ = ["Segmenter", "activate"]


def activate(raw: Tensor, specs: Sequence[MapSpec]) -> Tensor:
    """Raw channels (B, C, H, W) of all maps → what `decode` reads, each by its activation, without training's own."""
    parts = []
    for spec, part in zip(specs, raw.split([s.channels for s in specs], dim=1), strict=True):
        if spec.training_only:
            continue
        if spec.activation == "sigmoid":
            parts.append(part.sigmoid())
        elif spec.activation == "softmax":
            parts.append(part.softmax(dim=1))
        elif spec.activation == "relu":
            parts.append(part.relu())
        else:
            parts.append(part)
    return torch.cat(parts, dim=1)


class Segmenter(nn.Module):
    """Encoder, decoder and heads joined: image (B, 3, H, W) in 0–255 → raw maps (B, C, H, W).

    Args:
        encoder: Gives features (`encoders.protocol`).
        decoder: (features, image) → (B, D, H / s, W / s).
        heads: → raw channels at the image's size.
        specs: The maps, in channel order.
        mean: Per RGB channel, of images scaled to 0–1.
        std: Standard deviation per RGB channel, on the same scale.
        tissue: Optional head on the encoder's summary of the whole image, (B, E) → (B, T) logits of tissues.
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
        tissue: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.heads, self.tissue = encoder, decoder, heads, tissue
        self.specs = tuple(specs)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def with_decoder(self, decoder: nn.Module) -> Segmenter:
        """The same network with another decoder; this one stays as it is, and all else is shared."""
        other = Segmenter(
            self.encoder, decoder, self.heads, self.specs, mean=(0, 0, 0), std=(1, 1, 1), tissue=self.tissue
        )
        other.mean, other.std = self.mean, self.std
        return other

    def forward(self, image: Tensor) -> Tensor:
        """Raw channels of all maps; `activate` turns them into maps."""
        normalised = self.normalise(image)
        raw: Tensor = self.heads(self.decoder(self.encoder(normalised), normalised))
        return raw

    def forward_with_tissue(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Raw channels as `forward` gives them, and tissue logits (B, T), from one pass.

        Raises:
            ModelError: The model has no tissue head.
        """
        normalised = self.normalise(image)
        features = self.encoder(normalised)
        return self.heads(self.decoder(features, normalised)), self._tissue(features)

    def forward_with_features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Raw channels as `forward` gives them, and the deepest features (B, D, h, w), from one pass."""
        normalised = self.normalise(image)
        features = self.encoder(normalised)
        return self.heads(self.decoder(features, normalised)), features.pyramid[-1]

    def tissue_logits(self, image: Tensor) -> Tensor:
        """(B, T) tissue logits alone; the decoder does not run.

        Raises:
            ModelError: The model has no tissue head.
        """
        return self._tissue(self.encoder(self.normalise(image)))

    def normalise(self, image: Tensor) -> Tensor:
        """What the encoder is given, from an image in 0–255."""
        return (image - self.mean) / self.std

    def _tissue(self, features: Features) -> Tensor:
        if self.tissue is None:
            raise ModelError("This model does not tell tissues apart; build it with tissues=... in its spec.")
        logits: Tensor = self.tissue(features.cls)
        return logits
