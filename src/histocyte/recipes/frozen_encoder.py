"""Any pre-trained encoder, kept as it is, behind one and the same decoder: what do its features know of cells?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.taxonomies import PANNUKE
from histocyte.core.taxonomy import Taxonomy
from histocyte.encoders.catalog.find import find_card
from histocyte.model.spec import ModelSpec
from histocyte.recipes.cisca import cisca_spec

__all__ = ["TAPS", "frozen_encoder", "tapped_blocks"]

Taps = Literal["card", "shallow", "deep", "mixed"]

TAPS: dict[str, tuple[int, int, int, int]] = {
    "shallow": (1, 2, 3, 4),
    "deep": (2, 4, 6, 8),
    "mixed": (1, 2, 4, 8),
}
"""Blocks that are tapped, in eighths of the depth."""
_SHALLOW_OF_12 = (2, 4, 6, 8)
"""Shallow taps of 12 blocks: in the first half alone they would be nearly next to each other."""


def tapped_blocks(preset: str, depth: int) -> tuple[int, ...]:
    """Blocks to tap, from 1, of a vision transformer of some depth.

    Raises:
        UnknownNameError: No such preset.
        InputError: Fewer blocks than taps.
    """
    if preset not in TAPS:
        raise UnknownNameError("choice of taps", preset, ("card", *TAPS))
    if depth < 8:
        raise InputError(
            f"The presets of taps need 8 blocks or more, this encoder has {depth}; name the blocks instead."
        )
    if preset == "shallow" and depth == 12:
        return _SHALLOW_OF_12
    return tuple(-(-depth * eighths // 8) for eighths in TAPS[preset])


def frozen_encoder(
    encoder: str = "vit-s-22k",
    *,
    taps: Taps | Sequence[int] = "card",
    taxonomy: Taxonomy = PANNUKE,
    mpp: float = 0.25,
) -> ModelSpec:
    """Vadori et al. 2025, Mind the Gap (arXiv 2502.02471): one decoder of fixed widths over frozen encoders.

    The paper's code is not public, so its layout is followed where it is known: features of several depths, decoded to
    CISCA's maps. That the encoder stays frozen is a matter of training: the spec's `training` asks for it, and
    `histocyte train` does so unless told otherwise.

    Args:
        encoder: By its card's name, or any of timm's or the hub's.
        taps: Blocks of a vision transformer: as its card has it, "shallow" (up to the middle), "deep" (up to the end),
            "mixed"
            (ever further apart), or blocks by number, from 1. A pyramid has its own levels.
        taxonomy: The cell classes; empty leaves out their map.
        mpp: Resolution that it works at, µm/px.

    Raises:
        UnknownNameError: No such encoder or choice of taps.
        InputError: A choice of taps for an encoder that has no blocks, or too few.
    """
    card = find_card(encoder)
    options = dict(card.options)
    if taps != "card":
        if card.facts.depth is None:
            raise InputError(f"'{card.name}' is a pyramid: it has levels of its own and no blocks to choose from.")
        options["taps"] = list(tapped_blocks(taps, card.facts.depth) if isinstance(taps, str) else taps)
    spec = cisca_spec("frozen_encoder", card, options, taxonomy=taxonomy, mpp=mpp, compatible=False)
    return spec.with_changes(training={"adapt": "frozen"})
