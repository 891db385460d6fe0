"""What a published CellViT or CellViT++ is made of, read off the shapes of its weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from histocyte.conversion.cellvit_names import sam_weights
from histocyte.conversion.facts import Facts
from histocyte.conversion.star_names import cellvit_star_weights
from histocyte.core.errors import ModelError
from histocyte.model.spec import ModelSpec, Part
from histocyte.recipes.cellvit import cellvit
from histocyte.recipes.cellvit_cppnet import cellvit_cppnet
from histocyte.recipes.cellvit_stardist import cellvit_stardist
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.star.scheme import Star

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "cellvit_encoder",
    "hover_cellvit_spec",
    "hover_cellvit_weights",
    "hover_part",
    "star_cellvit_spec",
    "star_cellvit_weights",
]

_SAM = {768: "sam-b", 1024: "sam-l", 1280: "sam-h"}
_VITS = {(384, 16): "vit256", (1024, 16): "uni", (1280, 14): "virchow"}
"""(width, patch) → the catalog's encoder, where positions are a list of tokens."""
_PLUS_ALONE = "encoder.blocks.0.ls1.gamma"
"""Layer scale, which the encoders have that came with CellViT++ and no other."""
_REFINES = "conv_0_confidence."
_SAM_MLP = re.compile(r"^(encoder\.blocks\.\d+\.mlp\.)lin([12])\.")
_TYPES = ("type_head.weight", "nuclei_type_maps_decoder.decoder0_header.2.weight", "nuclei_type_maps_decoder.weight")
_TISSUES = ("encoder.head.weight", "classifier_head.weight")


def hover_cellvit_spec(facts: Facts) -> ModelSpec:
    """Spec of a CellViT with HoVer maps.

    Raises:
        ModelError: An encoder or a map that histocyte does not have.
    """
    weights = facts.file.weights
    if facts.channels("nuclei_binary_map_decoder.decoder0_header.2.weight") > 2:
        raise ModelError(
            f"'{facts.file.path}' is a CellViT that also regresses each nucleus' centre; histocyte has no such map."
        )
    taxonomy, mpp, encoder = facts.classes(facts.channels(*_TYPES)), facts.resolution(), cellvit_encoder(facts)
    plus = _PLUS_ALONE in weights
    spec = cellvit(
        encoder,
        shared="hv_map_decoder.weight" in weights,
        taxonomy=taxonomy,
        tissues=() if plus else facts.tissues(facts.channels(*_TISSUES)),
        mpp=mpp,
        compatible=True,
    )
    if plus:
        facts.notes.append("its head for tissues is left out, which reads the class token before the last norm")
    return spec.with_changes(
        name=f"cellvit-{encoder.removeprefix('vit')}",
        representation=hover_part(facts, mpp, len(taxonomy)),
        **facts.normalisation(spec.mean, spec.std),
    )


def hover_cellvit_weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Its weights under our names."""
    ours = sam_weights(published)
    if _PLUS_ALONE in published:
        return {name: tensor for name, tensor in ours.items() if not name.startswith("tissue.")}
    return ours


def star_cellvit_spec(facts: Facts) -> ModelSpec:
    """Spec of a CellViT with StarDist's maps, or with CPP-Net's.

    Raises:
        ModelError: An encoder that histocyte does not have.
    """
    refined = any(name.startswith(_REFINES) for name in facts.file.weights)
    recipe = cellvit_cppnet if refined else cellvit_stardist
    taxonomy, mpp, encoder = facts.classes(facts.channels(*_TYPES)), facts.resolution(), cellvit_encoder(facts)
    spec = recipe(encoder, taxonomy=taxonomy, mpp=mpp, compatible=True)
    maps = Star.at(mpp, classes=len(taxonomy), refined=refined, compat=facts.compat)
    return spec.with_changes(
        name=f"{spec.name}-{encoder.removeprefix('vit')}",
        tissues=facts.tissues(facts.channels(*_TISSUES)),
        representation=_part("star", maps),
        **facts.normalisation(spec.mean, spec.std),
    )


def star_cellvit_weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Its weights under our names."""
    # In SAM the two layers of a block have names of their own.
    return cellvit_star_weights({_SAM_MLP.sub(r"\1fc\2.", name): tensor for name, tensor in published.items()})


def cellvit_encoder(facts: Facts) -> str:
    """The catalog's name of a published CellViT's encoder, by its patches and positional embeddings.

    Raises:
        ModelError: None of those that were published.
    """
    weights = facts.file.weights
    positions, patches = weights.get("encoder.pos_embed"), weights.get("encoder.patch_embed.proj.weight")
    if positions is not None and patches is not None:
        width, patch = patches.shape[0], patches.shape[-1]
        name = _SAM.get(width) if positions.ndim == 4 else _VITS.get((width, patch))
        if name is not None:
            return "virchow2" if name == "virchow" and "encoder.reg_token" in weights else name
    seen = {
        name: tuple(found.shape)
        for name, found in (("positions", positions), ("patches", patches))
        if found is not None
    }
    raise ModelError(
        f"'{facts.file.path}' is a CellViT with an encoder that is not known here ({seen}). There is: "
        f"{', '.join([*_VITS.values(), 'virchow2', *_SAM.values()])}."
    )


def hover_part(facts: Facts, mpp: float, classes: int) -> Part:
    """HoVer maps with the constants of their resolution; of these what differs from the defaults."""
    return _part("hover", Hover.at(mpp, classes=classes, nucleus_channels=2, compat=facts.compat))


def _part(name: str, maps: Hover | Star) -> Part:
    fields = ((field, getattr(maps, field.name)) for field in dataclasses.fields(maps))
    return Part(name=name, options={field.name: value for field, value in fields if value != field.default})
