"""CellViT: HoVer maps from a vision transformer through UNETR, with a branch for each map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import PANNUKE, PANNUKE_TISSUES
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.encoder import RGB, card_of, normalisation
from histocyte.recipes.fitting import fitting_part

__all__ = ["cellvit"]


def cellvit(
    encoder: str = "vit256",
    *,
    taps: Sequence[int] | None = None,
    patch_px: int = 16,
    shared: bool = False,
    taxonomy: Taxonomy = PANNUKE,
    tissues: Sequence[str] = PANNUKE_TISSUES,
    mpp: float = 0.25,
    drop_path: float = 0.0,
    attention_drop: float = 0.0,
    compatible: bool = False,
) -> ModelSpec:
    """Hörst et al. 2024, CellViT (doi 10.1016/j.media.2024.103143); the default encoder makes it CellViT-256.

    Args:
        encoder: A vision transformer of the catalog: "sam-b", "sam-l" and "sam-h" make the paper's other models, "uni"
            and "virchow" those of CellViT++ (doi 10.1016/j.cmpb.2025.109206). Or any of timm's by its own name.
        taps: Blocks to tap, from 1; those of its card where None, or four at even distances.
        patch_px: The patch of one without a card; images are resized to fit one other than 16.
        shared: One way up for all maps, as in the paper's ablation.
        taxonomy: The cell classes.
        tissues: For the head on the whole image; empty leaves it out.
        mpp: Resolution that it works at, µm/px.
        drop_path: Share of the blocks left out at random while it learns, from 0; 0.1 with "vit256" as published.
        attention_drop: Share of its attention left out in the same way; 0.1 with "vit256" as published.
        compatible: Positional embeddings as in the published code, for its weights.
    """
    drops = {"drop_path_rate": drop_path, "attn_drop_rate": attention_drop}
    part, mean, std = _encoder(encoder, taps, patch_px, drops, compatible=compatible)
    return ModelSpec(
        name="cellvit",
        recipe="cellvit",
        encoder=part,
        decoder=Part(name="unetr", options={"branches": 1 if shared else 3 if len(taxonomy) else 2}),
        heads=Part(name="pointwise", options={"own_branch": not shared}),
        representation=fitting_part("hover", mpp, classes=len(taxonomy), nucleus_channels=2),
        taxonomy=taxonomy.to_json(),
        tissues=tuple(tissues),
        mpp=mpp,
        mean=mean,
        std=std,
    )


def _encoder(
    name: str, taps: Sequence[int] | None, patch_px: int, drops: Mapping[str, float], *, compatible: bool
) -> tuple[Part, RGB, RGB]:
    """The encoder's part, and the mean and standard deviation that it wants images by."""
    card = card_of(name)
    if card is None:
        options: dict[str, Any] = {"name": name, "taps": taps and list(taps), "fit": patch_px != 16}
        kind = "timm_vit"
    else:
        options = {**card.options, **({"taps": list(taps)} if taps else {})}
        kind = card.part
    if any(drops.values()):
        if kind != "timm_vit" or not all(0 <= share < 1 for share in drops.values()):
            raise InputError(
                f"drop_path and attention_drop are shares from 0 to below 1 of a vision transformer of timm's; asked "
                f"were {drops['drop_path_rate']:g} and {drops['attn_drop_rate']:g} of '{name}'."
            )
        options["arch_options"] = {**options.get("arch_options", {}), **{k: v for k, v in drops.items() if v}}
    if compatible and kind == "sam":
        options["position_resampling"] = "crop"
    elif compatible and kind == "timm_vit":
        # CellViT's own transformer has DINO's way; the encoders of CellViT++ are timm's, UNI among them.
        options["position_resampling"] = "dino" if card is None or name == "vit256" else "timm"
    return Part(name=kind, options=options), *normalisation(name)
