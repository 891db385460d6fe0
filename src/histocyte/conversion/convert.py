"""Checkpoints that others published → models of ours: told by their weights' names, every weight accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from histocyte.conversion.facts import Facts
from histocyte.conversion.kinds import KINDS
from histocyte.core.digest import file_sha256
from histocyte.core.errors import ModelError, UnknownNameError
from histocyte.core.taxonomy import Taxonomy
from histocyte.model.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from histocyte.conversion.file import ForeignFile

__all__ = ["convert"]


def convert(
    path: str | Path,
    *,
    kind: str | None = None,
    taxonomy: Taxonomy | None = None,
    mpp: float | None = None,
    name: str | None = None,
    compat: bool = True,
) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Read a published checkpoint as a model of ours.

    The file is read as plain data; nothing in it is run. `spec.training["converted"]` says from which file of which
    kind the model is, what had to be assumed about it and what was left out.

    Args:
        path: A PyTorch file.
        kind: One of `KINDS`; told by the weights' names where None.
        taxonomy: The cell classes, where the file does not name them or names them wrongly.
        mpp: Resolution it was trained at, µm/px.
        name: Name of the model; from its kind where None.
        compat: Decode maps as its publishers do, for results like theirs; else as histocyte does by default.

    Returns:
        The spec, and its weights for `model.checkpoint.save_model`.

    Raises:
        InputError: No such file, or other than so many classes.
        UnknownNameError: No such kind.
        ModelError: No plain weights, of no known kind, or some missing or left over; lists them.
    """
    import torch

    from histocyte.conversion.cellvit_names import check_exactly
    from histocyte.conversion.file import read_foreign
    from histocyte.model.build import build_segmenter

    file = read_foreign(path)
    chosen = _kind_of(file) if kind is None else kind
    if chosen not in KINDS:
        raise UnknownNameError("kind of checkpoint", chosen, KINDS)
    facts = Facts(file, taxonomy, mpp, compat)
    spec = KINDS[chosen].spec(facts)
    weights = KINDS[chosen].weights(file.weights)
    with torch.device("meta"):
        check_exactly(build_segmenter(spec).state_dict(), weights, where=str(path))
    converted = {
        "kind": chosen,
        "file": file.path.name,
        "sha256": file_sha256(file.path),
        "notes": list(facts.notes),
    }
    spec = spec.with_changes(
        name=name or spec.name,
        description=f"{KINDS[chosen].title}, converted from {file.path.name}",
        licence="as its publishers state",
        training={"converted": converted},
    )
    return spec, weights


def _kind_of(file: ForeignFile) -> str:
    for name, kind in KINDS.items():
        if kind.fits(file.weights):
            return name
    raise ModelError(f"'{file.path}' {_what_else(file.weights)} Kinds that are: {', '.join(KINDS)}.")


def _what_else(weights: Mapping[str, Tensor]) -> str:
    names = set(weights)
    if names == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}:
        inputs, classes = weights["fc1.weight"].shape[1], weights["fc2.weight"].shape[0]
        return (
            f"is CellViT++'s classifier of cell tokens ({inputs} numbers → {classes} classes), which is not a model by "
            "itself and cannot be converted yet; the CellViT that it belongs to can."
        )
    listed = ", ".join(sorted(names)[:4])
    return f"is of no kind that can be converted; its weights begin with {listed}."
