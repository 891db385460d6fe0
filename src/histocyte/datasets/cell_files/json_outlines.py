"""JSON of HoVer-Net and of CellViT (CellViT++): outlines of cells in px, the class as a code.

HoVer-Net: {"nuc": {id: {"contour": [[x, y], ...], "type": int or null, "type_prob": float or null}}}.
CellViT: {"type_map": {code: name}, "cells": [{"contour": [[x, y], ...], "type": int, "type_prob": float}]}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from histocyte.core.errors import InputError
from histocyte.datasets.cell_files.contents import OutlinedCells, outlines_of

__all__ = ["read_json_outlines"]

MAX_BYTES = 1 << 31
"""Such a file holds some millions of cells and takes some ten times its size in memory."""


def read_json_outlines(path: Path) -> OutlinedCells:
    """Read either format, told apart by its content.

    Raises:
        InputError: There is no such file, or it is neither, or a cell in it is broken.
    """
    data = _load(path)
    if isinstance(data, dict) and isinstance(data.get("nuc"), dict):
        cells: list[Any] = list(data["nuc"].values())
    elif isinstance(data, dict) and isinstance(data.get("cells"), list):
        cells = data["cells"]
    else:
        keys = ", ".join(list(map(str, data))[:5]) if isinstance(data, dict) else type(data).__name__
        raise InputError(f"'{path}' has neither 'nuc' (HoVer-Net) nor 'cells' (CellViT); it has: {keys}.")
    for i, cell in enumerate(cells):
        if not isinstance(cell, dict) or "contour" not in cell:
            raise InputError(f"'{path}': cell {i} has no 'contour', and outlines are needed. Pass the file that has.")
    try:
        types = np.array([int(cell.get("type") or 0) for cell in cells], np.int64)
        raw = [cell.get("type_prob") for cell in cells]
        probabilities = np.array([1.0 if p is None else float(p) for p in raw], np.float32)
        names = {int(code): str(name) for code, name in (data.get("type_map") or {}).items()}
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"'{path}': a class, its probability or the type map is no number ({error}).") from error
    return OutlinedCells(outlines_of([cell["contour"] for cell in cells], path), types, probabilities, names)


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"'{path}' is larger than {MAX_BYTES >> 30} GiB. Export a part of the slide.")
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}.") from error
    except orjson.JSONDecodeError as error:
        raise InputError(f"'{path}' is no valid JSON ({error}). Export it anew.") from error
