"""The lightweight model's teacher: flows and types from a frozen foundation model through a narrow UNETR."""

from __future__ import annotations

import re
from collections.abc import Sequence

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import REFINED
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import card_of, normalised
from histocyte.recipes.fitting import fitting_part

__all__ = ["lightweight_teacher"]

_WIDTHS = (256, 128, 312)
"""CellViT's for encoders narrower than 512; in those for wider ones the decoder is far larger than published."""


def lightweight_teacher(
    encoder: str = "h-optimus-0",
    *,
    taps: Sequence[int] | None = None,
    patch_px: int | None = None,
    taxonomy: Taxonomy = REFINED,
    mpp: float = 0.25,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> ModelSpec:
    """Shvetsov et al. 2025 (arXiv 2502.19217): H-optimus-0, frozen, and UNETR for a flow and a types map.

    What the types map does not call background is a nucleus. In training the encoder stays frozen, unless asked
    otherwise; the class map learns by focal loss and by cross-entropy smoothed in space.

    The paper has 24,143,634 weights beside the encoder's; here they are 24,954,122, 3.4 % more: a branch for each map,
    in the widths that CellViT has for small encoders. The paper's own layout is not known: neither widths nor topology
    are published, and none of thousands of likely ones that were counted has just as many weights.

    Args:
        encoder: A vision transformer, by its card's name or timm's own; the paper's is H-optimus-0.
        taps: Four blocks to tap, from 1; where None those of its card (the paper's {1, 14, 26, 38}, which its library
            counts from 0, for its encoder), or at even distances.
        patch_px: The patch of one without a card; as its name has it ("…_patch16_…") where None.
        taxonomy: The cell classes; of none, a nucleus map takes the place of theirs.
        mpp: Resolution that it works at, µm/px.
        mean: Mean of the encoder's training images, RGB from 0 to 1; the encoder's own where None.
        std: Standard deviation of the same; the encoder's own where None.

    Raises:
        InputError: The encoder is a pyramid, which has no blocks to tap.
    """
    part, patch_px = _encoder(encoder, taps, patch_px)
    return ModelSpec(
        name="lightweight-teacher",
        recipe="lightweight_teacher",
        encoder=part,
        decoder=Part(name="unetr", options={"branches": 2, "widths": list(_WIDTHS)}),
        heads=Part(name="pointwise", options={"own_branch": True}),
        representation=fitting_part(
            "flow",
            mpp,
            classes=len(taxonomy),
            foreground="types" if len(taxonomy) else "nucleus",
            flow_scale=1.0,
            losses="lightweight",
        ),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        **normalised(encoder, mean, std),
        tile_px=16 * patch_px,  # the encoder has seen no other number of tokens
        margin_px=2 * patch_px,
        multiple=patch_px,
        training={"adapt": "frozen"},
    )


def _encoder(name: str, taps: Sequence[int] | None, patch_px: int | None) -> tuple[Part, int]:
    """The encoder's part, and its patch."""
    given = {} if taps is None else {"taps": list(taps)}
    card = card_of(name)
    if card is None:
        named = re.search(r"patch(\d+)", name)
        return Part(name="timm_vit", options={"name": name, **given}), patch_px or (int(named[1]) if named else 14)
    if card.facts.patch_px is None:
        raise InputError(f"'{card.name}' is a pyramid; this recipe taps the blocks of a vision transformer.")
    # Images are as large as whole patches, so that none has to be resized to fit them.
    options = {key: value for key, value in card.options.items() if key != "fit"}
    return Part(name=card.part, options={**options, **given}), card.facts.patch_px
