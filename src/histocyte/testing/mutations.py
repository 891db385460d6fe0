"""Damaged and hostile inputs, drawn from whole ones by a seed: for tests that nothing but kind errors comes of them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from histocyte.core.errors import HistocyteError

__all__ = [
    "failures",
    "mutated_bytes",
    "mutated_json",
    "safetensors_header",
    "with_onnx_metadata",
    "with_safetensors_header",
]

_DEEP: Any = json.loads("[" * 400 + "]" * 400)
_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 256, 300, 2**31, 2**63, -(2**63), 10**30),
    *(0.5, -0.5, 1e-300, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", " ", "x", "nan", "0", "é" * 3000, "\0", "\x1b[31m[/bold]", "../../etc", "a\nb", "\ud800", "=1+1"),
    *([], [[]], [None], {}, {"": None}, {"name": []}, _DEEP),
)
"""What is found in no file that a program of ours wrote."""


def mutated_bytes(content: bytes, draw: random.Random) -> bytes:
    """A file with one to four faults: bits that flipped, bytes that were lost, doubled, zeroed or put in."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        if not changed:
            return bytes(draw.randbytes(draw.randint(0, 64)))
        # Half of the faults lie near the beginning, where files say what they are.
        reach = len(changed) if draw.random() < 0.5 else min(len(changed), 2048)
        place, length = draw.randrange(reach), draw.choice((1, 2, 4, 8, 64, 1024))
        kind = draw.randrange(7)
        if kind == 0:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = draw.randbytes(length)
        elif kind == 5:
            changed[place:place] = changed[place : place + length]
        else:
            changed[place : place + length] = bytes(min(length, len(changed) - place))
    return bytes(changed)


def mutated_json(value: Any, draw: random.Random) -> Any:
    """A JSON value in which one to three places hold something else, are missing, or are twice there."""
    changed = json.loads(json.dumps(value))
    for _ in range(draw.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return copy.deepcopy(draw.choice(_ODD_VALUES))
        holder, key = draw.choice(places)
        kind = draw.random()
        if kind < 0.7:
            holder[key] = copy.deepcopy(draw.choice(_ODD_VALUES))
        elif kind < 0.8:
            del holder[key]
        elif kind < 0.9 and isinstance(holder, dict):
            holder[draw.choice(("extra", "", key.upper() + "_"))] = holder[key]
        elif isinstance(holder, list):
            holder.extend(list(holder) * draw.choice((1, 3, 100)))
        elif isinstance(holder[key], str):
            holder[key] = "".join(draw.sample(holder[key], len(holder[key])))
        elif isinstance(holder[key], int | float):
            holder[key] = holder[key] * draw.choice((-1, 2, 7, 1e6, 0.3))
    return changed


def _places(value: Any) -> Iterable[tuple[Any, Any]]:
    """Every place in a nested value: what holds it, and its key or index there."""
    todo = [value]
    while todo:
        holder = todo.pop()
        keys = holder if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            todo.append(holder[key])


def safetensors_header(content: bytes) -> dict[str, Any]:
    """The header of a safetensors file."""
    size = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    return header


def with_safetensors_header(content: bytes, header: Any) -> bytes:
    """The file with another header, whatever it is; its numbers stay."""
    size = int.from_bytes(content[:8], "little")
    text = header if isinstance(header, bytes) else json.dumps(header).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def with_onnx_metadata(content: bytes, entries: Mapping[str, str]) -> bytes:
    """The ONNX file with further metadata; of two entries with the same key, the later one counts."""
    for key, value in entries.items():
        fields = b"".join(
            tag + _varint(len(text)) + text
            for tag, text in ((b"\x0a", key.encode()), (b"\x12", value.encode("utf-8", "surrogatepass")))
        )
        content += b"\x72" + _varint(len(fields)) + fields
    return content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def failures(cases: Iterable[tuple[str, Callable[[], object]]]) -> list[str]:
    """What broke: cases that raised something else than an error meant for people, or one of several lines.

    Args:
        cases: Name and what is to be tried.
    """
    found = []
    for name, attempt in cases:
        try:
            attempt()
        except HistocyteError as error:
            if "\n" in str(error).strip():
                found.append(f"{name}: {type(error).__name__} of several lines: {str(error)!r:.200}")
        except Exception as error:  # noqa: BLE001 (that is what is looked for)
            found.append(f"{name}: {type(error).__name__}: {str(error)!r:.200}")
    return found
