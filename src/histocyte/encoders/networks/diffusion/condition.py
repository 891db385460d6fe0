"""What a denoiser is told of an image besides its noised latent: vectors of a frozen encoder, or none.

Graikos et al. 2024 (Large-Image-Diffusion, arXiv 2312.07330): an embedding of the patch and one of its region, each of
length 1, each projected to a token. Zeros stand for what is not known, as they did in a tenth of the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.encoders.registry import ENCODERS

__all__ = ["Condition"]


class Condition(nn.Module):
    """Image (B, 3, H, W) in −1…1 → context (B, 1 or 2, context).

    Args:
        width: Width of the patch's embedding; what `encoder` gives as its summary.
        region_width: Width of the region's embedding, which is always zeros here; without one there is one token.
        context: Channels of a token.
        projected: Whether embeddings go through a linear layer each; if not, the patch's is the token itself, and
            `width` and `context` are one.
        encoder: {"name": part, "options": {…}} of the encoder whose summary is the patch's embedding; without one, the
            embedding is zeros. Where the image's sides are not multiples of its own, it sees the image resampled.
        mean: Per RGB channel of images scaled to 0–1, as that encoder wants them.
        std: Standard deviation per RGB channel, in the same way.

    Raises:
        InputError: The encoder has no summary, or one of another width.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        width: int = 384,
        region_width: int | None = 768,
        context: int = 512,
        projected: bool = True,
        encoder: Mapping[str, Any] | None = None,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        super().__init__()
        if not projected and (width != context or region_width is not None):
            raise InputError(
                f"An embedding that is not projected is the one token itself: its {width} values are not {context}, or "
                "there is a region's embedding as well (region_width)."
            )
        self.width, self.context = width, context
        self.patch_fc = nn.Linear(width, context) if projected else nn.Identity()
        self.region_fc = None if region_width is None else nn.Linear(region_width, context)
        self.encoder = None if encoder is None else ENCODERS[encoder["name"]](**encoder.get("options", {}))
        if self.encoder is not None and self.encoder.info.summary_width != width:
            raise InputError(
                f"The condition is an embedding of {width} values, and the summary of the encoder "
                f"'{self.encoder.__class__.__name__}' has {self.encoder.info.summary_width or 'none'}."
            )
        # From −1…1 to what the encoder wants.
        self.register_buffer("mean", 2 * torch.tensor(mean).view(1, 3, 1, 1) - 1, persistent=False)
        self.register_buffer("std", 2 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def embed(self, image: Tensor) -> Tensor:
        """(B, width) embedding of the patch: length 1, or zeros without an encoder."""
        if self.encoder is None:
            return image.new_zeros(image.shape[0], self.width)
        multiple = self.encoder.info.multiple
        sides = [max(1, round(side / multiple)) * multiple for side in image.shape[2:]]
        if sides != list(image.shape[2:]):
            image = F.interpolate(image, sides, mode="bilinear")
        summary: Tensor = self.encoder((image - self.mean) / self.std).cls
        return F.normalize(summary, dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """The context of an image."""
        return self.project(self.embed(image))

    def project(self, embedding: Tensor) -> Tensor:
        """(B, width) → (B, 1 or 2, context)."""
        tokens = [self.patch_fc(embedding)]
        if self.region_fc is not None:
            tokens.append(self.region_fc(embedding.new_zeros(embedding.shape[0], self.region_fc.in_features)))
        return torch.stack(tokens, dim=1)
