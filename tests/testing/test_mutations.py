"""Damage is drawn alike from the same seed, and does damage."""

from __future__ import annotations

import json
import random

import pytest

from histocyte.core.errors import InputError
from histocyte.model.onnx_metadata import onnx_metadata
from histocyte.model.zoo import find_model
from histocyte.testing.mutations import (
    failures,
    mutated_bytes,
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
