"""The loss terms that a run may weigh: the representation's own, and further ones that a plan asks for by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from histocyte.core.errors import UnknownNameError
from histocyte.core.instances import Labels
from histocyte.losses.classes import focal, smoothed_cross_entropy
from histocyte.losses.gradient import gradient_error
from histocyte.losses.region import focal_tversky, multiclass_focal_tversky
from histocyte.representations.maps.loss import known_classes
from histocyte.representations.maps.raw_maps import raw_maps
from histocyte.representations.protocol import Representation

__all__ = ["FURTHER_TERMS", "TISSUE_TERM", "loss_terms", "term_names", "weighted"]

TISSUE_TERM = "tissue_ce"
"""Cross-entropy of the head that tells tissues apart."""

SURE = 20.0
"""Logit of a probability that is 1 in float32."""

Maps = Mapping[str, Tensor]


def _transposed_gradient(raw: Maps, target: Maps, separable: Tensor) -> Tensor:
    focus = target["nucleus"][:, -1:] * separable.view(-1, 1, 1, 1)
    return gradient_error(raw["hover"], target["hover"], focus, transposed=True)


def _nucleus_twice(raw: Maps, target: Maps, separable: Tensor) -> Tensor:
    logits, truth = raw["nucleus"], target["nucleus"][:, -1:]
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    return focal_tversky(logits.softmax(1).softmax(1), torch.cat([1 - truth, truth], 1))


def _types_twice(raw: Maps, target: Maps, separable: Tensor) -> Tensor:
    known = known_classes(target["types"])
    return multiclass_focal_tversky(raw["types"].softmax(1).softmax(1) * known, target["types"] * known)


def _types_focal(raw: Maps, target: Maps, separable: Tensor) -> Tensor:
    return focal(raw["types"], target["types"], known_classes(target["types"]))


def _smoothed(in_space: bool, decoupling: float) -> Callable[[Maps, Maps, Tensor], Tensor]:
    def term(raw: Maps, target: Maps, separable: Tensor) -> Tensor:
        known = known_classes(target["types"])
        return smoothed_cross_entropy(raw["types"], target["types"], known, in_space=in_space, decoupling=decoupling)

    return term


FURTHER_TERMS: Mapping[str, tuple[str, Callable[[Maps, Maps, Tensor], Tensor]]] = {
    "hover_msge_ij": ("hover", _transposed_gradient),
    "nucleus_focal_tversky_double_softmax": ("nucleus", _nucleus_twice),
    "types_focal_tversky_double_softmax": ("types", _types_twice),
    "types_focal": ("types", _types_focal),
    "types_ce_svls": ("types", _smoothed(in_space=True, decoupling=0.0)),
    "types_ce_sd": ("types", _smoothed(in_space=False, decoupling=0.01)),
    "types_ce_svls_sd": ("types", _smoothed(in_space=True, decoupling=0.01)),
}
"""Name → the map it is of, and raw and target maps and separable → the term.

`hover_msge_ij` and the double softmaxes are what CellViT's code computes; `types_…` go with any scheme of classes:
`svls` smooths the targets in space, `sd` is spectral decoupling (see `losses.classes`).
"""


def loss_terms(
    representation: Representation,
    raw: Tensor,
    target: Maps,
    separable: Tensor,
    *,
    wanted: Collection[str] = (),
    taught: Tensor | None = None,
) -> dict[str, Tensor]:
    """Unweighted loss terms by name.

    Args:
        representation: Whose own terms come first.
        raw: (B, C, H, W) raw channels of all maps.
        target: Target maps with a batch axis.
        separable: (B,) 0 where touching nuclei are not apart in the labels.
        wanted: Further terms that are to be computed, as far as there are their maps.
        taught: (B, H, W) bool, where the labels say something; everywhere where None.
    """
    if taught is not None:
        raw, target = _taught_alone(representation, raw, target, taught[:, None])
    terms = representation.loss_terms(raw, target, separable)
    further = [name for name in wanted if name not in terms and name in FURTHER_TERMS]
    if further:
        maps = raw_maps(raw, representation.maps)
        for name in further:
            of, term = FURTHER_TERMS[name]
            if of in maps:
                terms[name] = term(maps, target, separable)
    return terms


def _taught_alone(representation: Representation, raw: Tensor, target: Maps, taught: Tensor) -> tuple[Tensor, Maps]:
    """Raw channels and targets of which every loss is zero where nothing is taught, whatever the scheme.

    There the network is taken to have said what the target says (which is background), so that nothing flows back and
    no sum over pixels sees the place; of classes the target says that they are not known.
    """
    parts, own = [], raw_maps(raw, representation.maps)
    for spec in representation.maps:
        part = own[spec.name]
        truth = target.get(spec.name, torch.zeros_like(part))
        if spec.activation in ("sigmoid", "softmax"):
            truth = SURE * (2 * truth - 1)
        parts.append(torch.where(taught, part, truth.to(part.dtype)))
    known = {name: maps * taught if name == "types" else maps for name, maps in target.items()}
    return torch.cat(parts, dim=1), known


def term_names(representation: Representation) -> tuple[str, ...]:
    """Every loss term that can be weighed with a representation, whether or not it has a weight by default."""
    side = 64
    nothing = representation.encode(Labels(np.zeros((side, side), np.int32), np.zeros(1, np.int32)))
    channels = sum(spec.channels for spec in representation.maps)
    target = {name: torch.from_numpy(maps)[None] for name, maps in nothing.items()}
    raw = torch.zeros(1, channels, side, side)
    return tuple(loss_terms(representation, raw, target, torch.ones(1), wanted=FURTHER_TERMS))


def weighted(terms: Maps, weights: Mapping[str, float], *, strict: bool = True) -> dict[str, Tensor]:
    """The terms that have a weight; one of classes or tissues that the model has none of does not count.

    Args:
        terms: By name.
        weights: By name.
        strict: Refuse other names that are not among the terms.

    Raises:
        UnknownNameError: A weight of a term that there is not.
    """
    for name, weight in weights.items():
        if strict and weight and name not in terms and not name.startswith(("types_", TISSUE_TERM)):
            raise UnknownNameError("loss term", name, terms)
    return {name: terms[name] for name, weight in weights.items() if weight and name in terms}
