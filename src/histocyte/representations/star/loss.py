"""What a network is told when its star maps are wrong."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from histocyte.representations.maps.loss import types_loss_terms

__all__ = ["star_loss_terms"]


def star_loss_terms(raw: Mapping[str, Tensor], target: Mapping[str, Tensor], separable: Tensor) -> dict[str, Tensor]:
    """Every loss term of CellViT's StarDist and CPP-Net models for these maps, unweighted.

    Args:
        raw: Raw channels by map name: nucleus (B, 1, H, W), rays (B, 32, H, W), optionally types (B, K + 1, H, W) and
            rays_initial (B, 32, H, W). Rays are compared as they are, before the ReLU, or one below 0 would learn
            nothing.
        target: As `Star.encode` writes them, with a batch axis. Where all of types is zero, the class is unknown and
            nothing is learnt about it there; so a data set without classes trains the outlines only.
        separable: (B,) 0 for images whose touching nuclei are not apart. How deep a pixel of a merged nucleus lies in
            its own, and how far that reaches, is not known there: such images teach where no nucleus is, and classes.

    Returns:
        nucleus_bce, rays_l1, with `rays_initial` rays_initial_l1, and with types types_ce, types_dice,
        types_focal_tversky.
    """
    depth = target["nucleus"]
    apart = separable.view(-1, 1, 1, 1)
    known = apart.expand_as(depth).clone()
    known[depth == 0] = 1
    entropy = F.binary_cross_entropy_with_logits(raw["nucleus"], depth, reduction="none")
    terms = {
        "nucleus_bce": _mean(entropy, known),
        "rays_l1": _ray_error(raw["rays"], target["rays"], depth, apart),
    }
    if "rays_initial" in raw:
        terms["rays_initial_l1"] = _ray_error(raw["rays_initial"], target["rays"], depth, apart)
    return terms | types_loss_terms(raw["types"], target["types"]) if "types" in raw else terms


def _ray_error(rays: Tensor, truth: Tensor, depth: Tensor, apart: Tensor) -> Tensor:
    """Mean over pixels of the depth times the rays' mean error: rays count where they will be read."""
    return _mean(depth * (rays - truth).abs().mean(1, keepdim=True), apart.expand_as(depth))


def _mean(per_pixel: Tensor, mask: Tensor) -> Tensor:
    return (per_pixel * mask).sum() / mask.sum().clamp(min=1.0)
