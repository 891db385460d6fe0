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
    drop_path: float = 0.0,
    attention_drop: float = 0.0,
    compatible: bool = False,
) -> ModelSpec:
    """Refined star polygons (Chen et al. 2023, CPP-Net, doi 10.1109/TIP.2023.3237013) by CellViT.

    Hörst et al. 2024, CellViT (doi 10.1016/j.media.2024.103143), as in its paper's ablation.

    Args:
        encoder: A vision transformer, as the recipe `cellvit` takes it.
        taps: Blocks to tap, from 1; those of its card where None, or four at even distances.
        patch_px: The patch of an encoder without a card; images are resized to fit one other than 16.
        drop_path: Share of the blocks left out at random while it learns, from 0; 0.1 with "vit256" as published.
        attention_drop: Share of its attention left out in the same way; 0.1 with "vit256" as published.
        taxonomy: The cell classes.
        mpp: Resolution that it works at, µm/px.
        compatible: As the published code has it, for its weights; see `cellvit_stardist` and `CppRefineHeads`.
    """
    spec = cellvit_stardist(
        encoder,
        taps=taps,
        patch_px=patch_px,
        taxonomy=taxonomy,
        mpp=mpp,
        drop_path=drop_path,
        attention_drop=attention_drop,
        compatible=compatible,
    )
    return spec.with_changes(
        name="cellvit-cppnet",
        recipe="cellvit_cppnet",
        heads=Part(name="cpp_refine", options={"own_branch": True, "compatible": compatible}),
        representation=Part(name="star", options={**spec.representation.options, "refined": True}),
    )
