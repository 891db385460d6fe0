"""Damaged and hostile inputs, drawn from whole ones by a seed: for tests that nothing but kind errors comes of them."""

from __future__ import annotations

import copy
import csv
import gzip
import hashlib
import io
import json
import random
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile

from histocyte.core.errors import HistocyteError
from histocyte.model.onnx.metadata import onnx_metadata

__all__ = [
    "failures",
    "mutated_bytes",
    "mutated_file",
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
_ODD_TEXTS = tuple(value for value in _ODD_VALUES if isinstance(value, str | float))


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


def mutated_file(name: str, content: bytes, draw: random.Random) -> bytes:
    """A file with faults, most of them beneath what its format guards by packing and checksums.

    Args:
        name: Its ending says what the file is; of one that is not known bytes are changed alone.
        content: The whole file.
        draw: What decides.
    """
    lower = name.lower()
    mutate = next((each for endings, each in _BY_ENDING if lower.endswith(endings)), None)
    return mutated_bytes(content, draw) if mutate is None or draw.random() < 0.3 else mutate(name, content, draw)


def _json_file(_name: str, content: bytes, draw: random.Random) -> bytes:
    return _dumped(mutated_json(json.loads(content), draw), draw)


def _dumped(value: Any, draw: random.Random) -> bytes:
    return json.dumps(value, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")


def _gzipped(name: str, content: bytes, draw: random.Random) -> bytes:
    inside = mutated_file(name.removesuffix(".gz"), gzip.decompress(content), draw)
    return gzip.compress(inside, compresslevel=1, mtime=0)


def _table_of_text(_name: str, content: bytes, draw: random.Random) -> bytes:
    """Cells and lines that hold something else, are missing or are there twice; other ways to write text."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    for _ in range(draw.randint(1, 3)):
        place, kind = draw.randrange(len(rows)), draw.randrange(5)
        row = rows[place]
        if kind == 0:
            rows.insert(place, list(row))
        elif kind == 1:
            del row[: draw.randint(0, len(row))]
        elif kind == 2:
            row.append("more")
        elif row:
            row[draw.randrange(len(row))] = str(draw.choice(_ODD_TEXTS))
    text = io.StringIO()
    csv.writer(text, lineterminator=draw.choice(("\n", "\r\n", "\r"))).writerows(rows)
    return text.getvalue().encode(draw.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")


def _archive(_name: str, content: bytes, draw: random.Random) -> bytes:
    """A zip archive, as .npz and PyTorch's files are, of which one member is another, has another name, or is gone."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, info.compress_type, archive.read(info)) for info in archive.infolist()]
    place, kind = draw.randrange(len(members)), draw.random()
    name, packing, inside = members[place]
    if kind < 0.8:
        members[place] = (name, packing, mutated_file(name, inside, draw))
    elif kind < 0.9:
        members[place] = (name.replace("inst", "INST") + "x", packing, inside)
    else:
        del members[place]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, packing, inside in members:
            archive.writestr(zipfile.ZipInfo(name), inside, packing)
    return out.getvalue()


_TYPES = ("<i4", ">i8", "<f8", "<f4", "|b1", "|O", "<U9", "<U100000000", "|S4", "<c16", "<M8[ns]", "|V8", "x", "|u1")
_SHAPES = ("()", "(0,)", "(0, 0)", "(5,)", "(2, 3, 4)", "(-1, 4)", "(1099511627776,)", "(4294967296, 4294967296)", "7")


def _array(_name: str, content: bytes, draw: random.Random) -> bytes:
    """A NumPy array with other numbers, or a header that says something else than the truth."""
    array = np.load(io.BytesIO(content))
    if array.dtype.kind in "biuf" and draw.random() < 0.5 and array.size:
        changed = array.astype(draw.choice((array.dtype, np.int64, np.float64, np.float32, np.int8)))
        odd = (-1, 2**31 - 1, 255) if changed.dtype.kind in "iu" else (-1, np.nan, np.inf, 0.5, 2.0**60)
        with np.errstate(all="ignore"):
            changed.ravel()[draw.randrange(array.size)] = np.array(draw.choice(odd)).astype(changed.dtype)
        changed = draw.choice((changed, changed, changed.ravel(), changed[:-1], changed[None], changed.T))
        out = io.BytesIO()
        np.save(out, changed)
        return out.getvalue()
    said = draw.choice((array.dtype.str, draw.choice(_TYPES))), draw.choice((str(array.shape), draw.choice(_SHAPES)))
    text = f"{{'descr': {said[0]!r}, 'fortran_order': {draw.random() < 0.3}, 'shape': {said[1]}, }}".encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + array.tobytes()


_EXTREMES = (0, 1, 2, 255, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def _png(_name: str, content: bytes, draw: random.Random) -> bytes:
    """Change one chunk of a PNG, with the checksum that it then has."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    place = draw.randrange(len(chunks))
    kind, data = chunks[place]
    if kind == b"IHDR" and draw.random() < 0.8:
        side = draw.choice((0, 4))
        odd = draw.choice(_EXTREMES).to_bytes(4, "big")
        tail = bytes([draw.choice((0, 1, 2, 4, 8, 16, 255)), draw.choice((0, 1, 2, 3, 4, 6, 255))]) + data[10:]
        data = draw.choice((data[:side] + odd + data[side + 4 :], data[:8] + tail))
    elif draw.random() < 0.8:
        data = mutated_bytes(data, draw)
    chunks[place] = (kind, data)
    if draw.random() < 0.2:
        chunks.insert(place, draw.choice(chunks))
    whole = (len(d).to_bytes(4, "big") + k + d + zlib.crc32(k + d).to_bytes(4, "big") for k, d in chunks)
    return content[:8] + b"".join(whole)


def _tiff(_name: str, content: bytes, draw: random.Random) -> bytes:
    """Tags with another code, type, count or value."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = [(tag.offset, tag.valueoffset) for page in file.pages for tag in page.aspage().tags.values()]
    changed = bytearray(content)
    for _ in range(draw.randint(1, 2)):
        entry, value = draw.choice(tags)
        start, size = draw.choice(((value, 4), (value, 2), (entry + 4, 4), (entry + 2, 2), (entry, 2)))
        changed[start : start + size] = draw.choice(_EXTREMES).to_bytes(4, "little")[:size]
    return bytes(changed)


def _entries(entries: Mapping[str, str], draw: random.Random) -> dict[str, str]:
    """Texts by name of which one is another; where it is JSON, it is so inside."""
    key = draw.choice(sorted(entries))
    try:
        text = _dumped(mutated_json(json.loads(entries[key]), draw), draw).decode("utf-8", "surrogatepass")
    except ValueError:
        text = mutated_bytes(entries[key].encode(), draw).decode("utf-8", "surrogateescape")
    return {**entries, key: text}


def _safetensors(_name: str, content: bytes, draw: random.Random) -> bytes:
    header = safetensors_header(content)
    about = header.get("__metadata__")
    if about and draw.random() < 0.6:
        return with_safetensors_header(content, {**header, "__metadata__": _entries(about, draw)})
    return with_safetensors_header(content, mutated_json(header, draw))


def _onnx(_name: str, content: bytes, draw: random.Random) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.onnx")
        path.write_bytes(content)
        entries = onnx_metadata(path)
    return with_onnx_metadata(content, _entries(entries, draw)) if entries else mutated_bytes(content, draw)


def _parquet(_name: str, content: bytes, draw: random.Random) -> bytes:
    """A table whose description or one of whose columns is another."""
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        table = file.read()
    kind, place = draw.randrange(7), draw.randrange(table.num_columns)
    name, column = table.column_names[place], table.column(place)
    if kind < 2 and table.schema.metadata:
        about = {key.decode(): text.decode() for key, text in table.schema.metadata.items() if key != b"ARROW:schema"}
        changed = {key: text.encode("utf-8", "surrogatepass") for key, text in _entries(about, draw).items()}
        table = table.replace_schema_metadata(changed)
    elif kind == 2:
        table = table.drop_columns([name])
    elif kind == 3:
        table = table.rename_columns([draw.choice((c, c, c, c + "x", name)) for c in table.column_names])
    elif kind == 4:
        table = table.slice(0, draw.choice((0, 1)))
    else:
        odd = draw.choice((None, *_ODD_TEXTS))
        values: list[Any] = column.to_pylist()
        if values and isinstance(values[0], bytes):
            values = [mutated_bytes(value, draw) for value in values]
        elif values and kind == 5:
            values[draw.randrange(len(values))] = None
        else:
            values = [odd] * len(values)
        try:
            table = table.set_column(place, name, pa.array(values))
        except (pa.ArrowException, UnicodeEncodeError):
            table = table.drop_columns([name])
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()


def _journal_block(_name: str, content: bytes, draw: random.Random) -> bytes:
    """Cells of a block that are others under a checksum that fits."""
    stream = mutated_bytes(content[:-32], draw)
    return stream + hashlib.sha256(stream).digest()


_BY_ENDING: tuple[tuple[tuple[str, ...], Callable[[str, bytes, random.Random], bytes]], ...] = (
    ((".gz",), _gzipped),
    ((".json", ".geojson"), _json_file),
    ((".csv", ".txt"), _table_of_text),
    ((".npz", ".zip", ".pth"), _archive),
    ((".npy",), _array),
    ((".png",), _png),
    ((".tif", ".svs", ".scn"), _tiff),
    ((".safetensors",), _safetensors),
    ((".onnx",), _onnx),
    ((".parquet",), _parquet),
    ((".arrow",), _journal_block),
)


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
