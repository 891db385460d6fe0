"""What a network is told when its map of classes is wrong, whatever the other maps are."""

from __future__ import annotations

from torch import Tensor

from histocyte.losses.region import dice, multiclass_focal_tversky

__all__ = ["known_classes", "types_loss_terms"]


def known_classes(truth: Tensor) -> Tensor:
    """(B, 1, H, W) 1 where the class of a pixel is known, else 0.

    Where all channels are zero, it is not, nor where several are one. An image that has cells and tells the class of
    none of them says nothing about classes, not even what is background: beside cells it would teach that alone. So a
    data set without classes trains the outlines only. An image without cells is background, whatever set it is of.

    Args:
        truth: (B, K + 1, H, W) as `types_map` writes it, with a batch axis.
    """
    return (truth.sum(1, keepdim=True) == 1).to(truth.dtype) * _says_something(truth)


def _says_something(truth: Tensor) -> Tensor:
    """(B, 1, 1, 1) 1 for the images with a cell of which at least something is known, and those that are background."""
    told = truth[:, 1:].sum((1, 2, 3), keepdim=True) > 0
    return (told | (truth[:, :1] == 1).all(3, keepdim=True).all(2, keepdim=True)).to(truth.dtype)


def _entropy(classes: Tensor, truth: Tensor) -> Tensor:
    """Mean of -log of the probability of all classes that a pixel may be of, over pixels of which something is known.

    Where a single class is named, it is the cross-entropy with CellViT's bounds (1e-7).
    """
    may_be = (truth.sum(1, keepdim=True) > 0).to(truth.dtype) * _says_something(truth)
    right = (classes * truth).sum(1, keepdim=True).clamp(1e-7, 1 - 1e-7)
    return -(right.log() * may_be).sum() / may_be.sum().clamp(min=1.0)


def types_loss_terms(raw: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """CellViT's loss terms of a map of classes, unweighted: types_ce, types_dice, types_focal_tversky.

    A label that leaves open which of several classes a cell is of teaches the first of them the sum of those classes.

    Args:
        raw: (B, K + 1, H, W) raw channels.
        truth: As `types_map` writes it, with a batch axis.
    """
    known = known_classes(truth)
    classes = raw.softmax(1)
    return {
        "types_ce": _entropy(classes, truth),
        "types_dice": dice(classes, truth, known),
        "types_focal_tversky": multiclass_focal_tversky(classes * known, truth * known),
    }
