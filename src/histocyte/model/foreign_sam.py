"""Weights of published CellViT-SAM models under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from histocyte.model.foreign import cellvit_weights

__all__ = ["sam_weights"]

_MLP = re.compile(r"^(encoder\.body\.blocks\.\d+\.mlp\.)lin([12])\.")


def sam_weights(published: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a published CellViT-SAM (B, L or H) for `recipes.cellvit("sam-b", compatible=True)` and its kin.

    Args:
        published: Tensors by name, in the layout of the PyPI package cellvit 1.0.9.

    Returns:
        The same tensors; one whose name is not known keeps it.
    """
    return {_MLP.sub(r"\1fc\2.", name): tensor for name, tensor in cellvit_weights(published).items()}
