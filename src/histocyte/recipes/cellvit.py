"""CellViT: HoVer maps from a vision transformer through UNETR, with a branch for each map."""

from __future__ import annotations

from collections.abc import Sequence

from histocyte.core.taxonomy import PANNUKE, Taxonomy
from histocyte.model.spec import ModelSpec, Part

__all__ = ["PANNUKE_TISSUES", "cellvit"]

PANNUKE_TISSUES = (
    *("adrenal gland", "bile duct", "bladder", "breast", "cervix", "colon", "esophagus", "head and neck", "kidney"),
    *("liver", "lung", "ovarian", "pancreatic", "prostate", "skin", "stomach", "testis", "thyroid", "uterus"),
)
"""PanNuke's 19 tissues, in the order of CellViT's tissue head."""


def cellvit(
    encoder: str = "vit_small_patch16_224",
    *,
    taps: Sequence[int] | None = None,
    patch_px: int = 16,
    shared: bool = False,
    taxonomy: Taxonomy = PANNUKE,
    tissues: Sequence[str] = PANNUKE_TISSUES,
    mpp: float = 0.25,
    compatible: bool = False,
) -> ModelSpec:
    """Hörst et al. 2024, CellViT (doi 10.1016/j.media.2024.103143); the default encoder makes it CellViT-256.

    Args:
        encoder: A timm ViT.
        taps: Blocks to tap, from 1; four at even distances where None.
        patch_px: The encoder's patch; images are resized to fit one other than 16.
        shared: One way up for all maps, as in the paper's ablation.
        taxonomy: The cell classes.
        tissues: For the head on the whole image; empty leaves it out.
        mpp: Resolution, µm/px.
        compatible: Positional embeddings as in the published CellViT-256, for its weights.
    """
    options = {"name": encoder, "taps": taps and list(taps), "fit": patch_px != 16}
    return ModelSpec(
        name="cellvit",
        recipe="cellvit",
        encoder=Part(name="timm_vit", options={**options, "position_resampling": "dino" if compatible else "timm"}),
        decoder=Part(name="unetr", options={"branches": 1 if shared else 3 if len(taxonomy) else 2}),
        heads=Part(name="pointwise", options={"own_branch": not shared}),
        representation=Part(name="hover", options={"classes": len(taxonomy), "nucleus_channels": 2}),
        taxonomy=taxonomy.to_json(),
        tissues=tuple(tissues),
        mpp=mpp,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
