"""Damage is drawn alike from the same seed, and does damage."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

from histocyte.core.errors import InputError
from histocyte.model.onnx.metadata import onnx_metadata
from histocyte.model.zoo import find_model
from histocyte.testing.mutations import (
    failures,
    mutated_bytes,
    mutated_file,
    mutated_json,
    safetensors_header,
    with_onnx_metadata,
    with_safetensors_header,
)


def test_the_same_seed_gives_the_same_damage() -> None:
    content, value = bytes(range(256)) * 20, {"a": [1, 2, {"b": "text"}], "c": None}
    for seed in range(50):
        one, two = (mutated_bytes(content, random.Random(seed)) for _ in range(2))
        assert one == two
        assert repr(mutated_json(value, random.Random(seed))) == repr(mutated_json(value, random.Random(seed)))
    assert len({mutated_bytes(content, random.Random(seed)) for seed in range(50)} | {content}) > 45
    assert len({repr(mutated_json(value, random.Random(seed))) for seed in range(50)}) > 40
    assert value == {"a": [1, 2, {"b": "text"}], "c": None}


def test_headers_and_metadata_are_replaced_and_the_rest_stays(tmp_path: object) -> None:
    files = find_model("hover-small-consep")
    assert files.safetensors is not None
    assert files.onnx is not None
    content = files.safetensors.read_bytes()
    header = safetensors_header(content)
    again = with_safetensors_header(content, {**header, "__metadata__": {"k": "v" * 300}})
    assert safetensors_header(again)["__metadata__"] == {"k": "v" * 300}
    assert again.endswith(content[-1000:])
    assert with_safetensors_header(content, b"[[").startswith((8).to_bytes(8, "little") + b"[[")


def test_metadata_are_added_to_onnx(tmp_path_factory: pytest.TempPathFactory) -> None:
    files = find_model("hover-small-consep")
    assert files.onnx is not None
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    path.write_bytes(with_onnx_metadata(files.onnx.read_bytes(), {"histocyte": "x" * 200, "more": "µ"}))
    assert onnx_metadata(path) == {**onnx_metadata(files.onnx), "histocyte": "x" * 200, "more": "µ"}


def test_kind_errors_pass_and_others_are_told() -> None:
    def kind() -> None:
        raise InputError("one line")

    def long() -> None:
        raise InputError("one line\nand another")

    def wrong() -> None:
        json.loads("[")

    found = failures([("kind", kind), ("fine", lambda: 3), ("long", long), ("wrong", wrong)])
    assert [text.partition(":")[0] for text in found] == ["long", "wrong"]
    assert "JSONDecodeError" in found[1]


def png(path: Path) -> None:
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(path)


def chunks_fit(content: bytes) -> bool:
    at = 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : at + 8 + size]
        if zlib.crc32(body) != int.from_bytes(content[at + 8 + size : at + 12 + size], "big"):
            return False
        at += 12 + size
    return True


def opens(read: Callable[[io.BytesIO], object]) -> Callable[[bytes], bool]:
    def sound(content: bytes) -> bool:
        try:
            read(io.BytesIO(content))
        except Exception:  # noqa: BLE001 (whatever it is, the packing is broken)
            return False
        return True

    return sound


def block(path: Path) -> None:
    stream = bytes(range(256))
    path.write_bytes(stream + hashlib.sha256(stream).digest())


PACKED: dict[str, tuple[Callable[[Path], object], Callable[[bytes], bool]]] = {
    "a.json": (lambda path: path.write_text('{"a": [1, {"b": "c"}]}'), opens(json.load)),
    "a.json.gz": (
        lambda path: path.write_bytes(gzip.compress(b'{"a": 1}')),
        opens(lambda f: gzip.GzipFile(fileobj=f).read()),
    ),
    "a.npz": (lambda path: np.savez_compressed(path, inst=np.eye(9)), opens(lambda f: zipfile.ZipFile(f).testzip())),
    "a.png": (png, chunks_fit),
    "a.parquet": (lambda path: pq.write_table(pa.table({"x": [1, 2], "s": ["a", "b"]}), path), opens(pq.read_table)),
    "a.arrow": (block, lambda content: hashlib.sha256(content[:-32]).digest() == content[-32:]),
}


@pytest.mark.parametrize("name", PACKED)
def test_most_damage_lies_beneath_packing_and_checksums(name: str, tmp_path: Path) -> None:
    write, sound = PACKED[name]
    write(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    assert sound(whole)
    damaged = [mutated_file(name, whole, random.Random(seed)) for seed in range(60)]
    assert damaged == [mutated_file(name, whole, random.Random(seed)) for seed in range(60)]
    assert sum(sound(content) and content != whole for content in damaged) > 25
    assert sum(not sound(content) for content in damaged) > 3


def test_tags_of_a_tiff_are_changed_where_they_lie(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 20), np.uint8))
    whole = (tmp_path / "a.tif").read_bytes()
    damaged = [mutated_file("a.tif", whole, random.Random(seed)) for seed in range(60)]
    few = [content for content in damaged if len(content) == len(whole)]
    assert sum(0 < sum(a != b for a, b in zip(content, whole, strict=True)) <= 8 for content in few) > 25
