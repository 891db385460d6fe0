"""The image encoder of Segment Anything: windowed attention with relative positions, and a neck that sums it up.

Kirillov et al. 2023 (Segment Anything, doi 10.1109/ICCV51070.2023.00371), tapped as CellViT does it (Hörst et al. 2024,
doi 10.1016/j.media.2024.103143).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.encoders.networks.sides import check_sides
from histocyte.encoders.networks.timm import create_timm, even_taps
from histocyte.encoders.protocol import EncoderInfo, Features

__all__ = ["SamEncoder"]


class SamEncoder(nn.Module):
    """SAM's image encoder, timm's `samvit_*`: image (B, 3, H, W) → (B, D, H / 16, W / 16) each.

    Most blocks attend within windows of 14 × 14 tokens, padded with zeros at the right and bottom; four attend to
    everything, with relative positions interpolated to the input's size. The summary is the spatial mean of the neck's
    256 channels, which CellViT's tissue head reads.

    Args:
        name: "samvit_base_patch16", "samvit_large_patch16" or "samvit_huge_patch16".
        taps: Blocks to tap, counted from 1; four at even distances up to the last where None.
        image_size: Side the absolute positions are kept at, px; SAM's own is 1024.
        position_resampling: What becomes of the absolute positions where the input has another size: "resample" them
            (bicubic), or "crop" their top left corner, as in the published CellViT-SAM; larger inputs have none then.

    Raises:
        UnknownNameError: timm has no such model.
        InputError: It is not an SAM, or has no such blocks.
    """

    def __init__(
        self,
        name: str = "samvit_base_patch16",
        taps: Sequence[int] | None = None,
        image_size: int = 1024,
        *,
        position_resampling: Literal["resample", "crop"] = "resample",
    ) -> None:
        super().__init__()
        if not name.startswith("samvit_"):
            raise InputError(
                f"'{name}' is not an encoder of Segment Anything; there are samvit_base_patch16, samvit_large_patch16 "
                f"and samvit_huge_patch16."
            )
        if position_resampling not in ("resample", "crop"):
            raise InputError(f"Positions can be treated by 'resample' or 'crop', not by '{position_resampling}'.")
        # SAM's own norms guard against division by zero with 1e-6 where timm's take torch's 1e-5.
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.body = create_timm(name, img_size=image_size, num_classes=0, norm_layer=norm)
        self.taps = even_taps(name, len(self.body.blocks), taps)
        self.crop = position_resampling == "crop"
        self.patch = int(self.body.patch_embed.patch_size[0])
        width = int(self.body.embed_dim)
        self.info = EncoderInfo(
            (width,) * len(self.taps), (self.patch,) * len(self.taps), self.patch, int(self.body.num_features)
        )

    def forward(self, image: Tensor) -> Features:
        """Taps as grids, the last of them as tokens, and the neck's mean.

        Raises:
            InputError: Height or width is not a multiple of the patch, or beyond the positions to crop from.
        """
        check_sides(image, self.patch)
        body = self.body
        x = body.patch_embed(image)
        x = body.norm_pre(body.pos_drop(x + self._positions(x)))
        taps = []
        for number, block in enumerate(body.blocks, 1):
            x = block(x)
            if number in self.taps:
                taps.append(x.permute(0, 3, 1, 2))
        summary = body.neck(x.permute(0, 3, 1, 2)).mean((2, 3))
        return Features(tuple(taps), taps[-1], summary)

    def _positions(self, tokens: Tensor) -> Tensor:
        """(1, h, w, D) absolute positions for tokens (B, h, w, D)."""
        embedding: Tensor = self.body.pos_embed
        height, width = tokens.shape[1:3]
        if (height, width) == embedding.shape[1:3]:
            return embedding
        if not self.crop:
            grid = F.interpolate(
                embedding.permute(0, 3, 1, 2), (height, width), mode="bicubic", antialias=True, align_corners=False
            )
            return grid.permute(0, 2, 3, 1)
        if height > embedding.shape[1] or width > embedding.shape[2]:
            side = embedding.shape[1] * self.patch
            raise InputError(
                f"Positions are cropped from {side} × {side} px, and the image has {height * self.patch} × "
                f"{width * self.patch}; use smaller tiles or position_resampling='resample'."
            )
        return embedding[:, :height, :width]
