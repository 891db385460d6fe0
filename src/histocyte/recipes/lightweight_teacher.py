"""The lightweight model's teacher: flows and types from a frozen foundation model through a narrow UNETR."""

from __future__ import annotations

import re
from collections.abc import Sequence

from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.fitting import fitting_part

__all__ = ["REFINED", "lightweight_teacher"]

REFINED = Taxonomy(
    "pannuke-monusac-refined",
    (
        CellClass("neoplastic", (255, 0, 0)),
        CellClass("lymphocyte", (0, 255, 0)),
        CellClass("connective", (0, 0, 255)),
        CellClass("dead", (0, 0, 0)),
        CellClass("epithelial", (255, 255, 0)),
        CellClass("macrophage", (255, 165, 0)),
        CellClass("neutrophil", (0, 255, 255)),
    ),
)
"""The seven classes of PanNuke and MoNuSAC relabelled by each other (Shvetsov et al. 2025), in their order and colours.
"""

_H_OPTIMUS = "vit_giant_patch14_reg4_dinov2"
_H_OPTIMUS_TAPS = [2, 15, 27, 39]
"""The paper's {1, 14, 26, 38}, which its library counts from 0."""
_WIDTHS = (256, 128, 312)
"""CellViT's for encoders narrower than 512; in those for wider ones the decoder is far larger than published."""


def lightweight_teacher(
    encoder: str = _H_OPTIMUS,
    *,
    taps: Sequence[int] | None = None,
    patch_px: int | None = None,
    taxonomy: Taxonomy = REFINED,
    mpp: float = 0.25,
    mean: tuple[float, float, float] = (0.707223, 0.578729, 0.703617),
    std: tuple[float, float, float] = (0.211883, 0.230117, 0.177517),
) -> ModelSpec:
    """Shvetsov et al. 2025 (arXiv 2502.19217): H-optimus-0, frozen, and UNETR for a flow and a types map.

    What the types map does not call background is a nucleus. Train it with the encoder frozen; its class map learns by
    focal loss and by cross-entropy smoothed in space.

    The paper has 24,143,634 weights beside the encoder's; here they are 24,954,122, 3.4 % more: a branch for each map,
    in the widths that CellViT has for small encoders. The paper's own layout is not known: neither widths nor topology
    are published, and none of thousands of likely ones that were counted has just as many weights.

    Args:
        encoder: A timm ViT; the paper's is H-optimus-0's architecture.
        taps: Four blocks to tap, from 1; the paper's for its encoder, at even distances in any other, where None.
        patch_px: The encoder's patch; as its name has it ("…_patch16_…") where None.
        taxonomy: The cell classes.
        mpp: Resolution, µm/px.
        mean: Of the encoder's training images, RGB from 0 to 1; the default is H-optimus-0's.
        std: Likewise.
    """
    own = {"taps": _H_OPTIMUS_TAPS, "image_size": 224} if encoder == _H_OPTIMUS else {}
    if patch_px is None:
        named = re.search(r"patch(\d+)", encoder)
        patch_px = int(named[1]) if named else 14
    given = {} if taps is None else {"taps": list(taps)}
    return ModelSpec(
        name="lightweight-teacher",
        recipe="lightweight_teacher",
        encoder=Part(name="timm_vit", options={"name": encoder, **own, **given}),
        decoder=Part(name="unetr", options={"branches": 2, "widths": list(_WIDTHS)}),
        heads=Part(name="pointwise", options={"own_branch": True}),
        representation=fitting_part(
            "flow", mpp, classes=len(taxonomy), foreground="types", flow_scale=1.0, losses="lightweight"
        ),
        taxonomy=taxonomy.to_json(),
        mpp=mpp,
        mean=mean,
        std=std,
        tile_px=16 * patch_px,  # the encoder has seen no other number of tokens
        margin_px=2 * patch_px,
        multiple=patch_px,
    )
