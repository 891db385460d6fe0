"""CellViT with StarDist's maps: star polygons from a vision transformer, with a branch for each map."""

from __future__ import annotations

from collections.abc import Sequence

from histocyte.core.taxonomies import PANNUKE, PANNUKE_TISSUES
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec
from histocyte.recipes.cellvit import cellvit
from histocyte.recipes.fitting import fitting_part

__all__ = ["cellvit_stardist"]


def cellvit_stardist(
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
    """Star polygons (Schmidt et al. 2018, doi 10.1007/978-3-030-00934-2_30) by CellViT, as in its paper's ablation.

    Hörst et al. 2024, CellViT (doi 10.1016/j.media.2024.103143); trained there without a loss for tissues.

    Args:
        encoder: A vision transformer, as the recipe `cellvit` takes it.
        taps: Blocks to tap, from 1; those of its card where None, or four at even distances.
        patch_px: The patch of an encoder without a card; images are resized to fit one other than 16.
        drop_path: Share of the blocks left out at random while it learns, from 0; 0.1 with "vit256" as published.
        attention_drop: Share of its attention left out in the same way; 0.1 with "vit256" as published.
        taxonomy: The cell classes.
        mpp: Resolution that it works at, µm/px.
        compatible: As the published code has it, for its weights: positional embeddings, decoding, and a tissue head.
    """
    tissues = PANNUKE_TISSUES if compatible else ()
    spec = cellvit(
        encoder,
        taps=taps,
        patch_px=patch_px,
        taxonomy=taxonomy,
        tissues=tissues,
        mpp=mpp,
        drop_path=drop_path,
        attention_drop=attention_drop,
        compatible=compatible,
    )
    star = fitting_part("star", mpp, classes=len(taxonomy), compat=compatible)
    return spec.with_changes(name="cellvit-stardist", recipe="cellvit_stardist", representation=star)
