"""The encoder that a recipe is given: by its card's name, or any of timm's by its own; with what it wants images by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from histocyte.core.errors import MissingExtraError
from histocyte.encoders.catalog.card import IMAGENET, EncoderCard
from histocyte.encoders.catalog.find import CARDS, find_card
from histocyte.model.spec import Part

__all__ = ["RGB", "card_of", "normalisation", "normalised", "pyramid_part"]

RGB = tuple[float, float, float]


def card_of(name: str) -> EncoderCard | None:
    """The card of an encoder; None for a timm model that is asked for by its own name.

    Args:
        name: Name of a card, in any case, or "owner/name" on the hub.

    Raises:
        InputError: The hub's config.json is of no kind that is known, or cannot be had.
    """
    if name.lower() in CARDS:
        return CARDS[name.lower()]
    return find_card(name) if "/" in name or ":" in name else None


def normalisation(name: str) -> tuple[RGB, RGB]:
    """Mean and standard deviation, RGB from 0 to 1, that an encoder's published weights want images by.

    Args:
        name: Name of a card, or timm's, with or without the tag of its weights; ImageNet's where neither knows it.

    Raises:
        InputError: See `card_of`.
    """
    card = card_of(name)
    if card is not None:
        return card.mean, card.std
    alike = {(c.mean, c.std) for c in CARDS.values() if c.options.get("name") == name}
    if len(alike) == 1:  # known without timm
        return alike.pop()
    from histocyte.encoders.catalog.generic import normalisation_of_timm

    try:
        return normalisation_of_timm(name) or IMAGENET
    except MissingExtraError:
        return IMAGENET


def normalised(name: str, mean: Sequence[float] | None, std: Sequence[float] | None) -> dict[str, Any]:
    """`mean` and `std` of a model's spec: those given, or an encoder's own."""
    own = normalisation(name)
    return {"mean": own[0] if mean is None else mean, "std": own[1] if std is None else std}


def pyramid_part(name: str, depths: Sequence[int]) -> Part:
    """The part of an encoder for a decoder that climbs a pyramid; a vision transformer's taps are spread to one.

    Args:
        name: Name of a card, or of a timm model with a pyramid.
        depths: Levels of a pyramid to keep, counted from the finest.

    Raises:
        InputError: See `card_of`.
    """
    card = card_of(name)
    if card is None:
        return Part(name="timm_pyramid", options={"name": name, "depths": list(depths)})
    levels = {"depths": list(depths)} if card.part == "timm_pyramid" else {}
    return Part(name=card.part, options={**card.options, **levels})
