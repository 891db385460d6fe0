"""What a network is told when its distance maps are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from histocyte.losses.gradient import diagonal_gradient_error
from histocyte.losses.pixel import cross_entropy, weighted_absolute_error, widen
from histocyte.losses.region import dice, pixel_tversky, tversky
from histocyte.representations.distance.targets import BACKGROUND, BODY, CONTOUR
from histocyte.representations.maps.loss import known_classes

__all__ = ["distance_loss_terms"]

_NEAR_PX = 6
"""Distances count in cells and this near to them."""
_FAR_WEIGHT = 0.05
"""Weight of pixels further off."""
_FAR_PULL = 0.01
"""Weight by which distances far from cells are drawn to 0."""


def distance_loss_terms(
    raw: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    separable: Tensor,
    *,
    class_weights: Sequence[float] = (),
    pixelwise_tversky: bool = False,
) -> dict[str, Tensor]:
    """Every loss term of CISCA (Vadori et al., arXiv 2409.04175) for these maps, unweighted.

    Args:
        raw: Raw channels by map name: semantic (B, 3, H, W), distance (B, 4, H, W), optionally types (B, K + 1, H, W).
        target: As `Distance.encode` writes them, with a batch axis. Where all of types is zero, the class is unknown
            and nothing is learnt about it there; so a data set without classes trains the outlines only.
        separable: (B,) 0 for images whose touching cells are not apart: they train the foreground only, which is
            contour and body together.
        class_weights: Weight of each channel of types in their cross-entropy, background first; all alike where empty.
        pixelwise_tversky: The Tversky loss of each pixel by itself, as published; see `losses.tversky`.

    Returns:
        semantic_ce, contour_dice, body_dice, distance_mae, distance_msge and, with types, types_ce, types_tversky.
    """
    apart = separable.view(-1, 1, 1, 1)
    truth = target["semantic"]
    said = raw["semantic"].softmax(1)
    background = truth[:, BACKGROUND : BACKGROUND + 1]
    near = widen(1 - background, _NEAR_PX)
    weight = (near + _FAR_WEIGHT * (1 - near)) * apart
    distance, true_distance = raw["distance"], target["distance"]
    pull = ((1 - near) * apart * distance.abs()).mean()
    terms = {
        "semantic_ce": _semantic_cross_entropy(said, truth, apart),
        "contour_dice": _dice_of(CONTOUR, said, truth, apart),
        "body_dice": _dice_of(BODY, said, truth, apart),
        "distance_mae": weighted_absolute_error(distance, true_distance, weight) + _FAR_PULL * pull,
        "distance_msge": diagonal_gradient_error(distance[:, 2:], true_distance[:, 2:], weight),
    }
    if "types" in raw:
        terms |= _type_terms(raw["types"], target["types"], class_weights, pixelwise_tversky)
    return terms


def _semantic_cross_entropy(said: Tensor, truth: Tensor, apart: Tensor) -> Tensor:
    """Three classes where cells are apart, else two: contour and body as one."""
    merged, merged_truth = (torch.cat([m[:, :2].sum(1, keepdim=True), m[:, 2:]], 1) for m in (said, truth))
    whole = torch.ones_like(truth[:, :1])
    return (
        cross_entropy(said, truth, whole * apart) * apart.mean()
        + cross_entropy(merged, merged_truth, whole * (1 - apart)) * (1 - apart).mean()
    )


def _dice_of(channel: int, said: Tensor, truth: Tensor, apart: Tensor) -> Tensor:
    one = slice(channel, channel + 1)
    return dice(said[:, one], truth[:, one], apart.expand_as(truth[:, one]), smooth=1.0)


def _type_terms(
    raw: Tensor, truth: Tensor, class_weights: Sequence[float], pixelwise_tversky: bool
) -> dict[str, Tensor]:
    known = known_classes(truth)
    said = raw.softmax(1)
    weighted = truth * truth.new_tensor(class_weights).view(1, -1, 1, 1) if class_weights else truth
    overlap = pixel_tversky if pixelwise_tversky else tversky
    return {"types_ce": cross_entropy(said, weighted, known), "types_tversky": overlap(said, truth, known)}
