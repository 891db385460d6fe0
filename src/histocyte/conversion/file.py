"""Checkpoints that others' programs wrote: what lies in them as plain data, and nothing of what they could run."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from histocyte.core.errors import InputError
from histocyte.encoders.weights.pytorch_file import NUMPY, Harmless, named_tensors, read_pytorch, unwrapped

__all__ = ["ForeignFile", "read_foreign"]

_NESTS = ("model_state_dict", "state_dict", "desc", "teacher")
"""Under which training programs put the weights: CellViT's, many, HoVer-Net's, DINO's."""

_HARMLESS: list[Harmless] = [
    *((NUMPY._reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    np.ndarray,
    # Folders in a configuration, of whatever system and Python it ran on.
    *(
        (getattr(pathlib, f"Pure{system}Path"), f"{module}.{pure}{system}Path")
        for system in ("Posix", "Windows")
        for pure in ("", "Pure")
        for module in ("pathlib", "pathlib._local")
    ),
]
"""What segmentation programs store beside tensors and numbers, and what building it cannot do harm with."""


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A checkpoint as plain data.

    Attributes:
        path: Where it lies.
        weights: By their published names.
        config: The training program's configuration, nested; empty where there is none.
        arch: The name it gives its architecture, or "".
    """

    path: Path
    weights: dict[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    arch: str = ""

    def setting(self, *path: str) -> Any:
        """A value of the configuration by its path, None where it has none."""
        found: Any = self.config
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


def read_foreign(path: str | Path) -> ForeignFile:
    """A PyTorch file (.pth, .pt, .tar, .ckpt; zipped or of the old format), without running anything that it holds.

    Raises:
        InputError: No such file.
        ModelError: No PyTorch file, one that holds more than plain data, or no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file '{path}'.")
    found = read_pytorch(path, harmless=_HARMLESS)
    content = found if isinstance(found, Mapping) else {}
    nested = unwrapped(content, _NESTS)
    weights = named_tensors(nested, where=path)
    while all(name.startswith("module.") for name in weights):  # saved from several GPUs
        weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    config = content.get("config") if nested is not content else None
    return ForeignFile(
        path, weights, _unflattened(config) if isinstance(config, Mapping) else {}, str(content.get("arch") or "")
    )


def _unflattened(config: Mapping[str, Any]) -> dict[str, Any]:
    """{"data.classes": 6} → {"data": {"classes": 6}}, as training programs log their settings."""
    nested: dict[str, Any] = {}
    for name, value in config.items():
        *parents, last = str(name).split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                break
        else:
            place[last] = _unflattened(value) if isinstance(value, Mapping) else value
    return nested
