"""What a safetensors file says of itself, read without its tensors and without the library's limits on what it says."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["safetensors_metadata"]

_HEADER_LIMIT = 95 * 2**20
"""The format itself allows 100 MB; a model that learnt from 100,000 tiles has prints of some 20 MB."""


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file holds beside its tensors.

    Raises:
        ValueError: No safetensors file, or one that is cut off in its header.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(size) if 2 <= size <= _HEADER_LIMIT else b""
    if len(text) < max(size, 2):
        raise ValueError("no safetensors header")
    try:
        header = json.loads(text)
    except RecursionError as error:
        raise ValueError("its header is nested too deep") from error
    found = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(found, dict):
        raise ValueError("no safetensors header")
    return {str(key): value for key, value in found.items() if isinstance(value, str)}
