"""PyTorch files of others (.pth, .pt, .bin, .tar, .ckpt) as plain data: nothing that lies in one is run."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from histocyte.core.errors import ModelError
from histocyte.files.kind import PICKLE, PYTORCH, TORCHSCRIPT, what_is

__all__ = ["NUMPY", "Harmless", "named_tensors", "read_pytorch", "unwrapped"]

Harmless = Callable[..., Any] | tuple[Callable[..., Any], str]
"""A class or function that a file may ask for, with the name it asks by where that is another than its own."""

NUMPY = np._core.multiarray  # type: ignore[attr-defined]
_NUMBERS: list[Harmless] = [
    # Such as the best metric so far; the module's name changed with NumPy 2.
    *((NUMPY.scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *{type(np.dtype(code)) for code in "?bhilqBHILQefd"},
]
"""What published files of every kind hold beside tensors and containers, and what building it cannot do harm with."""


def read_pytorch(path: Path, *, harmless: Iterable[Harmless] = ()) -> Any:
    """What lies in a file, zipped or of the old format; tensors on the CPU.

    Args:
        path: The file.
        harmless: What this kind of file holds beside tensors, containers and numbers; building it must do no harm.

    Raises:
        ModelError: No PyTorch file, a damaged one, or one that holds more than plain data.
    """
    kind = what_is(path)
    if kind == TORCHSCRIPT:  # PyTorch's own advice on these is to let them run
        raise ModelError(
            f"'{path}' holds no plain weights: it is {kind}, and code inside weights files is never run. Ask its "
            "authors for the weights alone, as torch.save(model.state_dict(), …) writes them."
        )
    try:
        with torch.serialization.safe_globals([*_NUMBERS, *harmless]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old ways to store tensors
            # What else lies in it, such as an optimiser's state of twice the size, then stays on the disk.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # anything can come out of a damaged pickle, and has
        named = re.search(r"GLOBAL ([\w.]+)|(?:but got|unrecognized function) <\w+ '?([\w.]+)", str(error))
        if named:
            raise ModelError(
                f"'{path}' holds no plain weights (it asks to run {named.group(1) or named.group(2)}); code inside "
                "weights files is never run, so ask its authors for a file with tensors only."
            ) from error
        if kind in (PYTORCH, PICKLE, ""):
            kind = "damaged or cut off, or no PyTorch file. Copy or download it again"
        raise ModelError(f"'{path}' holds no plain weights: it is {kind}.") from error


def unwrapped(content: Any, nests: Iterable[str]) -> Any:
    """What lies under the keys under which training programs put the weights, each tried once, in this order."""
    for key in nests:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return content


def named_tensors(content: Any, *, where: Path) -> dict[str, Tensor]:
    """The tensors among what a file holds, by name.

    Raises:
        ModelError: There are none; `where` names the file.
    """
    found = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not found:
        raise ModelError(f"'{where}' is a PyTorch file without weights by name.")
    return found
