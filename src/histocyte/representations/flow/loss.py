"""What a network is told when its flow maps are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from histocyte.losses.classes import focal, smoothed_cross_entropy
from histocyte.losses.pixel import binary_cross_entropy, mean_squared_error
from histocyte.representations.maps.loss import known_classes, types_loss_terms

__all__ = ["flow_loss_terms"]


def flow_loss_terms(
    raw: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    separable: Tensor,
    *,
    class_weights: Sequence[float] = (),
) -> dict[str, Tensor]:
    """Every loss term of Cellpose and of the lightweight model for these maps, unweighted.

    Args:
        raw: Raw channels by map name: flow (B, 2, H, W), nucleus (B, 1, H, W) or types (B, K + 1, H, W) or both.
        target: As `Flow.encode` writes them, with a batch axis. Where all of types is zero, the class is unknown and
            nothing is learnt about it there, but that it is no background.
        separable: (B,) 0 for images whose touching nuclei are not apart: they train the foreground only.
        class_weights: See `losses.classes.focal`.

    Returns:
        nucleus_bce, flow_mse (half the mean square, as in Cellpose) and, with types, types_ce, types_dice,
        types_focal_tversky, types_focal and types_ce_svls_sd. Without a nucleus map, nucleus_bce is of the types that
        are no background taken together, where the class is unknown.
    """
    apart = separable.view(-1, 1, 1, 1).expand_as(raw["flow"][:, :1])
    terms = {"flow_mse": 0.5 * mean_squared_error(raw["flow"], target["flow"], apart)}
    if "nucleus" in raw:
        terms["nucleus_bce"] = binary_cross_entropy(raw["nucleus"], target["nucleus"])
    if "types" not in raw:
        return terms
    logits, truth = raw["types"], target["types"]
    known = known_classes(truth)
    if "nucleus" not in raw:
        terms["nucleus_bce"] = _any_class(logits, 1 - truth[:, :1], 1 - known)
    terms |= types_loss_terms(logits, truth)
    return terms | {
        "types_focal": focal(logits, truth, known, weights=class_weights),
        "types_ce_svls_sd": smoothed_cross_entropy(logits, truth, known),
    }


def _any_class(logits: Tensor, nucleus: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of all classes but the first, background, taken together, over the mask."""
    together = torch.logsumexp(logits[:, 1:], dim=1, keepdim=True) - logits[:, :1]
    per_pixel = torch.nn.functional.binary_cross_entropy_with_logits(together, nucleus, reduction="none")
    return (per_pixel * mask).sum() / mask.sum().clamp(min=1.0)
