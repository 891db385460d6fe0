"""The metadata of an ONNX file, read without ONNX: a few lengths are followed, weights are skipped.

An ONNX file is one protobuf message whose fields each begin with a tag (field number × 8 + kind) and, for the kinds
that occur here, a length or a number. Metadata are its fields 14: messages of a key (1) and a value (2). A file that
was cut off, or is something else, breaks that chain: it is found out before a runtime fills the terminal with its own
complaints.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from histocyte.core.errors import InputError, ModelError
from histocyte.files.kind import but_is
from histocyte.model.build import check_spec
from histocyte.model.checkpoint import SPEC_KEY
from histocyte.model.spec import ModelSpec

__all__ = ["FEATURES_KEY", "check_numbers", "onnx_metadata", "read_onnx_spec"]

FEATURES_KEY = "histocyte_features"
"""Key of what is said of the features, in files that give them as a second output."""

_METADATA, _GRAPH, _INITIALIZER = 14, 7, 5
_DATA_TYPE, _FLOATS, _NAME, _RAW = 2, 4, 8, 9
_FLOAT, _HALF, _DOUBLE = 1, 10, 11
_FORMS: dict[int, Any] = {_FLOAT: np.dtype("<f4"), _HALF: np.dtype("<f2"), _DOUBLE: np.dtype("<f8")}
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class _Broken(ValueError):
    """No protobuf message."""


def read_onnx_spec(path: str | Path) -> ModelSpec:
    """The spec of an ONNX model file; needs no runtime.

    Raises:
        InputError: No such file.
        ModelError: Not a model file of histocyte, or a damaged one.
    """
    metadata = onnx_metadata(path)
    if SPEC_KEY not in metadata:
        raise ModelError(
            f"'{path}' is not an ONNX model made by histocyte (`histocyte models export` makes one): "
            "it holds no model spec."
        )
    return check_spec(ModelSpec.parse(metadata[SPEC_KEY], where=str(path)), where=str(path))


def onnx_metadata(path: str | Path) -> dict[str, str]:
    """What an ONNX file says of itself.

    Raises:
        InputError: No such file.
        ModelError: No ONNX file, or one that is not whole.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no model file '{path}'.")
    try:
        with _mapped(path) as content:
            fields = list(_fields(content, 0, len(content)))
            if _GRAPH not in {number for number, _, _ in fields}:
                raise _Broken("no graph")
            entries = [
                {number: content[start:stop].decode() for number, start, stop in _fields(content, *place)}
                for field, *place in fields
                if field == _METADATA
            ]
    except (ValueError, OSError) as error:  # an empty file cannot be mapped: ValueError too
        raise _damaged(path) from error
    return {entry.get(1, ""): entry.get(2, "") for entry in entries}


def check_numbers(path: str | Path) -> None:
    """Refuse weights that are not all finite: a bit that flipped on a disk, or a training that diverged.

    Single numbers may be infinite, as the limits are to which graphs cut values.

    Raises:
        ModelError: Some are, or no weights' bytes make whole numbers; names where.
    """
    path = Path(path)
    bad = []
    try:
        with _mapped(path) as content:
            for field, *place in _fields(content, 0, len(content)):
                if field == _GRAPH:
                    inside = [where for number, *where in _fields(content, *place) if number == _INITIALIZER]
                    bad += [name for where in inside for name, whole in [_tensor(content, *where)] if not whole]
    except (ValueError, OSError) as error:
        raise _damaged(path) from error
    if bad:
        raise ModelError(
            f"'{path}' holds weights that are no numbers (NaN or infinite), in {', '.join(bad[:4])}"
            f"{f' and {len(bad) - 4} more' if len(bad) > 4 else ''}: the file is damaged, or its training diverged."
        )


def _tensor(content: mmap.mmap, start: int, stop: int) -> tuple[str, bool]:
    """Name of a tensor, and whether all that it holds is finite."""
    name, kind, values = "", 0, b""
    for number, begin, end in _fields(content, start, stop, numbers=True):
        if number == _NAME:
            name = content[begin:end].decode()
        elif number == _DATA_TYPE:
            kind = _varint(content, begin, end)[0]
        elif number in (_RAW, _FLOATS):
            values = content[begin:end]
    if kind not in _FORMS:
        return name, True
    found = np.frombuffer(values, _FORMS[kind])  # ValueError where the last number is cut off
    return name, bool(np.isfinite(found).all() if found.size > 1 else not np.isnan(found).any())


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"'{path}' is not an ONNX model made by histocyte (`histocyte models export` makes one), or it is damaged: "
        f"{path.stat().st_size:,} bytes that are no whole ONNX file{but_is(path)}."
    )


def _fields(content: mmap.mmap, start: int, stop: int, *, numbers: bool = False) -> Iterator[tuple[int, int, int]]:
    """Number, start and stop of each field with a length; others are passed over, but for `numbers` if asked for."""
    while start < stop:
        tag, start = _varint(content, start, stop)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise _Broken("field 0")
        if kind == _LENGTH:
            length, start = _varint(content, start, stop)
            yield number, start, start + length
        elif kind == _VARINT:
            began, length, start = start, 0, _varint(content, start, stop)[1]
            if numbers:
                yield number, began, start
        elif kind in {_EIGHT_BYTES, _FOUR_BYTES}:
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise _Broken(f"kind {kind}")
        start += length
        if start > stop:
            raise _Broken("cut off")


def _varint(content: mmap.mmap, place: int, stop: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= stop:
            raise _Broken("cut off")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _Broken("a number without end")
