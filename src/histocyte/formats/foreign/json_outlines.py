"""JSON of HoVer-Net and of CellViT (CellViT++): outlines of cells in px, the class as a code.

HoVer-Net: {"nuc": {id: {"contour": [[x, y], ...], "type": int or null, "type_prob": float or null}}}.
CellViT: {"type_map": {code: name}, "cells": [{"contour": [[x, y], ...], "type": int, "type_prob": float}]}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from histocyte.core.errors import InputError
from histocyte.formats.foreign.contents import CellFile
from histocyte.formats.foreign.contours import contours_of

__all__ = ["is_json_outlines", "read_json_outlines"]


def is_json_outlines(data: object) -> bool:
    """Whether JSON is of either format."""
    return isinstance(data, dict) and (isinstance(data.get("nuc"), dict) or isinstance(data.get("cells"), list))


def read_json_outlines(data: dict[str, Any], path: Path) -> CellFile:
    """Read either format.

    Args:
        data: The content, for which `is_json_outlines` holds.
        path: Where it is from.

    Raises:
        InputError: A cell in it is broken.
    """
    cells: list[Any] = list(data["nuc"].values()) if isinstance(data.get("nuc"), dict) else data["cells"]
    for i, cell in enumerate(cells):
        if not isinstance(cell, dict) or "contour" not in cell:
            raise InputError(
                f"'{path}': cell {i + 1:,} of {len(cells):,} has no 'contour', and outlines are needed. Pass the file "
                "that has."
            )
    try:
        types = np.array([int(cell.get("type") or 0) for cell in cells], np.int64)
        raw = [cell.get("type_prob") for cell in cells]
        probabilities = np.array([1.0 if p is None else float(p) for p in raw], np.float32)
        names = {int(code): str(name) for code, name in (data.get("type_map") or {}).items()}
    except (TypeError, ValueError, AttributeError, OverflowError, KeyError) as error:
        raise InputError(f"'{path}': a class, its probability or the type map is not a number ({error}).") from error
    return CellFile(path, contours_of([cell["contour"] for cell in cells], path), types, probabilities, names)
