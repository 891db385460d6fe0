"""The encoders that are known by name; any other of timm's or the hub's becomes a card when it is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from histocyte.core.errors import MissingExtraError, UnknownNameError
from histocyte.core.installation import how_to_add
from histocyte.encoders.catalog.card import EncoderCard
from histocyte.encoders.catalog.diffusion import DIFFUSION
from histocyte.encoders.catalog.pathology import PATHOLOGY
from histocyte.encoders.catalog.photographs import PHOTOGRAPHS

__all__ = ["CARDS", "find_card"]

CARDS: Mapping[str, EncoderCard] = {card.name: card for card in (*PATHOLOGY, *DIFFUSION, *PHOTOGRAPHS)}
"""By name, in the order in which they are listed."""


def find_card(name: str, *, revision: str = "main") -> EncoderCard:
    """The card of an encoder.

    Args:
        name: A card's name, in any case; a timm model, with or without the tag of its weights; "owner/name" on the hub,
            or a folder in the hub's layout, by what its config.json says.
        revision: Revision of a repository on the hub that has no card of its own.

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
    from histocyte.encoders.catalog.generic import card_of_config, card_of_timm

    if "/" in plain or "\\" in plain or (plain and os.path.isfile(os.path.join(plain, "config.json"))):
        return card_of_config(plain, revision=revision)
    hint = "Any other of timm's or the hub's ('owner/name') will do."
    try:
        found = card_of_timm(plain)
    except MissingExtraError:
        if name.startswith("timm:") or _may_be_timms(plain):
            raise
        found, hint = None, f"Others, timm's and the hub's ('owner/name'), need: {how_to_add('torch')}"
    if found is None:
        raise UnknownNameError("encoder", name, CARDS, hint=hint)
    return found


def _may_be_timms(name: str) -> bool:
    """Whether timm may have a model of this name, told without timm: it is formed like the catalog's names of timm's.

    One of a family that the catalog lacks is missed; the error says by itself that timm may know it.
    """
    return _form(name) in {_form(str(card.options["name"])) for card in CARDS.values() if "name" in card.options}


def _form(name: str) -> tuple[str, bool]:
    """Family, and whether a size follows it: "vit_tiny_patch16_224" → ("vit", True), "resnet18" → ("resnet", False)."""
    found = re.match("[a-z]*", name)
    return found.group() if found else "", "_" in name.split(".")[0]
