"""The kinds of published checkpoints that can be converted: how each is told, and whose recipe its weights fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from histocyte.conversion.cellvit import (
    hover_cellvit_spec,
    hover_cellvit_weights,
    hover_part,
    star_cellvit_spec,
    star_cellvit_weights,
)
from histocyte.conversion.facts import Facts
from histocyte.conversion.hovernet_names import hovernet_weights
from histocyte.core.taxonomies import CONSEP, MONUSAC
from histocyte.model.spec import ModelSpec
from histocyte.recipes.hovernet import hovernet

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A published method.

    Attributes:
        title: What it is, and whose.
        signs: Beginnings of weights' names; for each of them there has to be a weight.
        spec: What a checkpoint's facts make of it.
        weights: Published weights → ours; what is not known keeps its name.
    """

    title: str
    signs: tuple[str, ...]
    spec: Callable[[Facts], ModelSpec]
    weights: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]

    def fits(self, weights: Mapping[str, object]) -> bool:
        """Whether every sign is there."""
        return all(any(name.startswith(sign) for name in weights) for sign in self.signs)


def _hovernet(facts: Facts) -> ModelSpec:
    kernels = {w.shape[-1] for name, w in facts.file.weights.items() if name.endswith(".u3.conva.weight")}
    original = 5 in kernels
    taxonomy = facts.classes(facts.channels("decoder.tp.u0.conv.weight"), CONSEP if original else MONUSAC)
    mpp = facts.resolution()
    spec = hovernet("original" if original else "fast", taxonomy=taxonomy, mpp=mpp, compatible=True)
    return spec.with_changes(representation=hover_part(facts, mpp, len(taxonomy)))


KINDS: dict[str, Kind] = {
    "hovernet": Kind(
        "HoVer-Net (Graham et al. 2019)", ("decoder.np.", "decoder.hv.", "d3.units."), _hovernet, hovernet_weights
    ),
    "cellvit": Kind(
        "CellViT (Hörst et al. 2024)",
        ("nuclei_binary_map_decoder.", "hv_map_decoder.", "encoder."),
        hover_cellvit_spec,
        hover_cellvit_weights,
    ),
    "cellvit-star": Kind(
        "CellViT with StarDist's or CPP-Net's maps (Hörst et al. 2024)",
        ("stardist_decoder.", "dist_decoder.", "encoder."),
        star_cellvit_spec,
        star_cellvit_weights,
    ),
}
"""By name, as `--kind` takes it; the first whose signs are all there is it."""
