"""Weights that others published, brought under our names: read once, converted, saved as a model file of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from histocyte.conversion.file import read_foreign
from histocyte.core.errors import ModelError
from histocyte.encoders.weights.finite import check_finite

__all__ = ["cellvit_weights", "check_exactly", "load_cellvit", "load_exactly", "read_pth", "sam_weights"]

_CELLVIT_BRANCHES = ("nuclei_binary_map_decoder", "hv_map_decoder", "nuclei_type_maps_decoder")
"""In the order of our maps: nucleus, hover, types."""
_CELLVIT_STEPS = ("decoder3_upsampler", "decoder2_upsampler", "decoder1_upsampler", "decoder0_header")
"""From coarse to fine."""
_MLP = re.compile(r"^(encoder\.body\.blocks\.\d+\.mlp\.)lin([12])\.")
"""SAM calls the two layers of a block by other names."""


def read_pth(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a PyTorch file by name, without running anything that it holds.

    The weights may lie under a key of their own, as training programs nest them.

    Raises:
        InputError: No such file.
        ModelError: No PyTorch file, one that holds more than plain data, or no tensors.
    """
    return read_foreign(path).weights


def load_exactly(model: nn.Module, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Load weights, every one of them accounted for.

    Args:
        model: With the names that `weights` has.
        weights: Its whole state.
        where: What to call their source in an error.

    Raises:
        ModelError: Missing, left over, of another shape, or not finite; lists them.
    """
    check_exactly(model.state_dict(), weights, where=where)
    model.load_state_dict(dict(weights))


def check_exactly(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor], *, where: str) -> None:
    """Whether weights are those of a model, none too many or too few.

    Args:
        wanted: Its state; tensors without memory (of the meta device) will do.
        weights: As `load_exactly` takes them.
        where: What to call their source in an error.

    Raises:
        ModelError: Missing, left over, of another shape, or not finite; lists them.
    """
    shapes = [
        f"{k} {tuple(weights[k].shape)} for {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in weights and weights[k].shape != v.shape
    ]
    faults = (
        ("missing", [k for k in wanted if k not in weights]),
        ("left over", [k for k in weights if k not in wanted]),
        ("of another shape", shapes),
    )
    listed = [f"{what}: {', '.join(keys[:8])}{' …' if len(keys) > 8 else ''}" for what, keys in faults if keys]
    if listed:
        raise ModelError(f"The weights in '{where}' do not fit this model. {'; '.join(listed)}.")
    check_finite(weights, where=where)


def load_cellvit(model: nn.Module, path: str | Path) -> None:
    """Load a checkpoint of CellViT-256, with separate or shared branches, into `recipes.cellvit(compatible=True)`.

    Raises:
        InputError: No such file.
        ModelError: No plain weights, or some that do not fit.
    """
    load_exactly(model, cellvit_weights(read_pth(path)), where=str(path))


def cellvit_weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a published CellViT under our names; what is not known keeps its name.

    The layout is that of the PyPI package cellvit 1.0.9 and, for shared branches, of the paper's repository.
    """
    return {_our_name(name): tensor for name, tensor in published.items()}


def _our_name(name: str) -> str:
    for pattern, replacement in _CELLVIT_NAMES:
        name, count = pattern.subn(replacement, name)
        if count:
            break
    return name.replace(".block.", ".")


def _cellvit_names() -> list[tuple[re.Pattern[str], str]]:
    """Patterns with what replaces them; the first that fits counts."""
    names = [
        (r"^(encoder\.head|classifier_head)\.", "tissue."),
        (r"^encoder\.", "encoder.body."),
        (r"^decoder(\d)\.", r"decoder.skips.\1."),
        (r"^decoder\.decoder(\d)_skip\.", r"decoder.skips.\1."),
    ]
    for number, branch in enumerate(_CELLVIT_BRANCHES):
        names.append((rf"^{branch}\.(decoder0_header\.2\.)?(weight|bias)$", rf"heads.heads.{number}.\2"))
        names += _branch_names(branch, number)
    names += _branch_names("decoder", 0)
    return [(re.compile(pattern), replacement) for pattern, replacement in names]


def _branch_names(theirs: str, number: int) -> list[tuple[str, str]]:
    ours = f"decoder.branches.{number}"
    steps = [(rf"^{theirs}\.{step}\.", f"{ours}.steps.{i}.") for i, step in enumerate(_CELLVIT_STEPS)]
    return [(rf"^{theirs}\.bottleneck_upsampler\.", f"{ours}.bottleneck."), *steps]


_CELLVIT_NAMES = _cellvit_names()


def sam_weights(published: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a published CellViT-SAM (B, L or H) for `recipes.cellvit("sam-b", compatible=True)` and the like.

    Args:
        published: Tensors by name, in the layout of the PyPI package cellvit 1.0.9.

    Returns:
        The same tensors; one whose name is not known keeps it.
    """
    return {_MLP.sub(r"\1fc\2.", name): tensor for name, tensor in cellvit_weights(published).items()}
