"""The encoders that are known by name; any other of timm's or the hub's becomes a card when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from histocyte.core.errors import UnknownNameError
from histocyte.encoders.card import EncoderCard
from histocyte.encoders.catalog_pathology import PATHOLOGY
from histocyte.encoders.catalog_photographs import PHOTOGRAPHS

__all__ = ["CARDS", "find_card"]

CARDS: Mapping[str, EncoderCard] = {card.name: card for card in (*PATHOLOGY, *PHOTOGRAPHS)}
"""By name, in the order in which they are listed."""


def find_card(name: str, *, revision: str = "main") -> EncoderCard:
    """The card of an encoder.

    Args:
        name: Of a card, in any case; a timm model, with or without the tag of its weights; "owner/name" on the hub,
            or a folder in the hub's layout, by what its config.json says.
        revision: Of a repository on the hub that has no card of its own.

    Raises:
        UnknownNameError: Nothing has this name.
        InputError: The hub's or folder's config.json is of no kind that is known, or cannot be had.
        MissingExtraError: A timm model is asked for and timm is not installed.
    """
    plain = name.removeprefix("hub:").removeprefix("hf-hub:").removeprefix("timm:")
    if plain.lower() in CARDS:
        return CARDS[plain.lower()]
    for card in CARDS.values():
        if card.hub and plain.lower() == card.hub.lower():
            return card
    from histocyte.encoders.generic_card import card_of_config, card_of_timm

    if "/" in plain or "\\" in plain:
        return card_of_config(plain, revision=revision)
    found = card_of_timm(plain)
    if found is None:
        raise UnknownNameError("encoder", name, CARDS, hint="Any other of timm's or the hub's ('owner/name') will do.")
    return found
