"""run.json: everything about how a result came to be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import orjson

from histocyte.files.atomic import write_atomically

__all__ = ["write_manifest"]

_OPTIONS = (
    orjson.OPT_INDENT_2
    | orjson.OPT_SORT_KEYS
    | orjson.OPT_SERIALIZE_NUMPY
    | orjson.OPT_NON_STR_KEYS
    | orjson.OPT_APPEND_NEWLINE
)


def write_manifest(path: Path, record: Mapping[str, object]) -> None:
    """Write a record as JSON, keys sorted, whole or not at all.

    Besides what JSON knows, values may be numpy scalars and arrays, paths, sets, dataclasses and datetimes;
    NaN becomes null.

    Raises:
        DiskError: It cannot be written.
    """
    content = orjson.dumps(dict(record), default=_plain, option=_OPTIONS)
    with write_atomically(path) as file:
        file.write(content)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):  # of a layout or type that orjson leaves to us
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"A {type(value).__name__} does not go into a manifest.")
