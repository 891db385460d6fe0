"""CellViT with CPP-Net's maps: star polygons whose rays are measured again from points along them."""

from __future__ import annotations

from collections.abc import Sequence

from histocyte.core.taxonomies import PANNUKE
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.cellvit_stardist import cellvit_stardist

__all__ = ["cellvit_cppnet"]


def cellvit_cppnet(
    encoder: str = "vit256",
    *,
    taps: Sequence[int] | None = None,
    patch_px: int = 16,
    taxonomy: Taxonomy = PANNUKE,
    mpp: float = 0.25,
    compatible: bool = False,
) -> ModelSpec:
    """Refined star polygons (Chen et al. 2023, CPP-Net, doi 10.1109/TIP.2023.3237013) by CellViT.

    Hörst et al. 2024, CellViT (doi 10.1016/j.media.2024.103143), as in its paper's ablation.

    Args:
        encoder: As `cellvit` takes it.
        taps: Likewise.
        patch_px: Likewise.
        taxonomy: The cell classes.
        mpp: Resolution, µm/px.
        compatible: As the published code has it, for its weights; see `cellvit_stardist` and `CppRefineHeads`.
    """
    spec = cellvit_stardist(encoder, taps=taps, patch_px=patch_px, taxonomy=taxonomy, mpp=mpp, compatible=compatible)
    return spec.with_changes(
        name="cellvit-cppnet",
        recipe="cellvit_cppnet",
        heads=Part(name="cpp_refine", options={"own_branch": True, "compatible": compatible}),
        representation=Part(name="star", options={**spec.representation.options, "refined": True}),
    )
