"""What a network is told when its hover maps are wrong."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from histocyte.losses.gradient import gradient_error
from histocyte.losses.pixel import binary_cross_entropy, mean_squared_error
from histocyte.losses.region import dice, focal_tversky
from histocyte.representations.maps.loss import types_loss_terms

__all__ = ["hover_loss_terms"]


def hover_loss_terms(
    raw: Mapping[str, Tensor], target: Mapping[str, Tensor], separable: Tensor, *, transposed_gradient: bool = False
) -> dict[str, Tensor]:
    """Every loss term of HoVer-Net and CellViT for these maps, unweighted.

    Args:
        raw: Raw channels by map name: nucleus (B, 1 or 2, H, W), hover (B, 2, H, W), optionally types (B, K + 1, H, W).
        target: As `Hover.encode` writes them, with a batch axis. Where all of types is zero, the class is unknown and
            nothing is learnt about it there; so a data set without classes trains the outlines only.
        separable: (B,) 0 for images whose touching nuclei are not apart: they train the foreground only.
        transposed_gradient: See `losses.gradient.gradient_error`.

    Returns:
        nucleus_bce, nucleus_dice, nucleus_focal_tversky, hover_mse, hover_msge and, with types, types_ce, types_dice,
        types_focal_tversky.
    """
    nucleus, truth = raw["nucleus"], target["nucleus"][:, -1:]
    if nucleus.shape[1] == 2:  # the softmax of two logits is the sigmoid of their difference
        nucleus = nucleus[:, 1:] - nucleus[:, :1]
    probability = nucleus.sigmoid()
    both, both_true = torch.cat([1 - probability, probability], 1), torch.cat([1 - truth, truth], 1)
    apart = separable.view(-1, 1, 1, 1)
    terms = {
        "nucleus_bce": binary_cross_entropy(nucleus, truth),
        "nucleus_dice": dice(both, both_true),
        "nucleus_focal_tversky": focal_tversky(both, both_true),
        "hover_mse": mean_squared_error(raw["hover"], target["hover"], apart.expand_as(truth)),
        "hover_msge": gradient_error(raw["hover"], target["hover"], truth * apart, transposed=transposed_gradient),
    }
    return terms | types_loss_terms(raw["types"], target["types"]) if "types" in raw else terms
