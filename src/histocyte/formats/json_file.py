"""JSON of untrusted origin, packed or not."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from histocyte.core.errors import InputError
from histocyte.files.foreign import foreign_parser, reason_of, unpacked

__all__ = ["load_json", "without_collection"]

MAX_BYTES = 1 << 31
"""Such a file holds some millions of cells and takes some ten times its size in memory."""


@contextmanager
def without_collection() -> Iterator[None]:
    """Let Python not look for garbage while JSON is read and taken apart.

    The points of 200,000 polygons are five million small lists, all in use; searching them again and again for cycles
    took seven times as long as reading them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_json(path: Path) -> Any:
    """Read a file of JSON, gzipped or not.

    NaN and Infinity, which JSON does not have and QuPath and Python write, are read as null.

    Raises:
        InputError: It cannot be read, is too large or no JSON.
    """
    with foreign_parser(lambda why: InputError(f"'{path}' cannot be read: {why}.")):
        text = unpacked(path, most_bytes=MAX_BYTES)
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # The slower reader also knows NaN, other encodings of Unicode, and halves of characters.
        said = reason_of(error)
        with foreign_parser(lambda _: InputError(f"'{path}' is not valid JSON ({said}). Export it again.")):
            return json.loads(text, parse_constant=lambda _: None)
