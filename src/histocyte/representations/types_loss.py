"""What a network is told when its map of classes is wrong, whatever the other maps are."""

from __future__ import annotations

from torch import Tensor

from histocyte.losses.pixel import cross_entropy
from histocyte.losses.region import dice, multiclass_focal_tversky

__all__ = ["known_classes", "types_loss_terms"]


def known_classes(truth: Tensor) -> Tensor:
    """(B, 1, H, W) 1 where the class of a pixel is known, else 0.

    Where all channels are zero, it is not. An image without any known cell says nothing about classes, not even what is
    background; so a data set without classes trains the outlines only.

    Args:
        truth: (B, K + 1, H, W) as `types_map` writes it, with a batch axis.
    """
    return truth.sum(1, keepdim=True) * (truth[:, 1:].sum((1, 2, 3), keepdim=True) > 0)


def types_loss_terms(raw: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """CellViT's loss terms of a map of classes, unweighted: types_ce, types_dice, types_focal_tversky.

    Args:
        raw: (B, K + 1, H, W) raw channels.
        truth: As `types_map` writes it, with a batch axis.
    """
    known = known_classes(truth)
    classes = raw.softmax(1)
    return {
        "types_ce": cross_entropy(classes, truth, known),
        "types_dice": dice(classes, truth, known),
        "types_focal_tversky": multiclass_focal_tversky(classes * known, truth * known),
    }
