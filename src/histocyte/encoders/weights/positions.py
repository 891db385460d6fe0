"""Positional embeddings of a file brought to the grid and the tokens of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["fit_positions"]


def fit_positions(found: Mapping[str, Tensor], body: Any) -> dict[str, Tensor]:
    """The file's tensors with absolute and relative positions as `body`, a timm transformer, has them.

    A grid of another size is resampled (bicubic, smoothed where it shrinks). Where the file adds a position to its
    class token and the model to patches alone, that position becomes part of the token, which is the same sum.

    Args:
        found: Tensors under timm's names.
        body: The model; what it does not have a shape for stays as it is.
    """
    fitted = dict(found)
    wanted = getattr(body, "pos_embed", None)
    if wanted is not None and "pos_embed" in fitted and fitted["pos_embed"].shape != wanted.shape:
        if wanted.ndim == 4:
            fitted["pos_embed"] = _resampled(fitted["pos_embed"], wanted.shape[1:3])
        elif fitted["pos_embed"].ndim == 3:
            fitted |= _fit_tokens(fitted, body)
    for name, tensor in body.state_dict().items():
        if name.endswith(("rel_pos_h", "rel_pos_w")) and name in fitted and fitted[name].shape[1:] == tensor.shape[1:]:
            fitted[name] = _stretched(fitted[name], len(tensor))
    return fitted


def _fit_tokens(found: Mapping[str, Tensor], body: Any) -> dict[str, Tensor]:
    """`pos_embed` (1, prefix + grid, D), and the class token where it takes its position in."""
    positions = found["pos_embed"]
    side = math.isqrt(positions.shape[1])
    prefix = positions.shape[1] - side**2
    wanted_prefix = 0 if body.no_embed_class else int(body.num_prefix_tokens)
    fitted: dict[str, Tensor] = {}
    if prefix == 1 and wanted_prefix == 0 and "cls_token" in found:
        fitted["cls_token"] = found["cls_token"] + positions[:, :1]
        positions, prefix = positions[:, 1:], 0
    if prefix != wanted_prefix:
        return {}  # of another kind: its shape is reported
    grid = positions[:, prefix:].unflatten(1, (side, side))
    grid = _resampled(grid, body.patch_embed.grid_size)
    return {**fitted, "pos_embed": torch.cat([positions[:, :prefix], grid.flatten(1, 2)], dim=1)}


def _resampled(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, h, w, D) at another size."""
    if tuple(grid.shape[1:3]) == tuple(size):
        return grid
    channels_first = grid.permute(0, 3, 1, 2).float()
    sized = F.interpolate(channels_first, tuple(size), mode="bicubic", antialias=True, align_corners=False)
    return sized.permute(0, 2, 3, 1).to(grid.dtype)


def _stretched(table: Tensor, length: int) -> Tensor:
    """(L, D) relative positions at another length, as SAM interpolates them."""
    if len(table) == length:
        return table
    return F.interpolate(table.float().T[None], length, mode="linear")[0].T.to(table.dtype)
