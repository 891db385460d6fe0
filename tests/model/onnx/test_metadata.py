"""The spec in an ONNX file is found without a runtime, and a damaged file is told as such."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from histocyte.core.errors import InputError, ModelError
from histocyte.model.checkpoint import SPEC_KEY, read_spec
from histocyte.model.onnx.metadata import onnx_metadata, read_onnx_spec
from histocyte.model.zoo import DEFAULT_MODEL, bundled_models

FILES = bundled_models()[DEFAULT_MODEL]


def test_the_spec_is_that_of_the_other_file() -> None:
    assert FILES.onnx is not None
    assert FILES.safetensors is not None
    assert read_onnx_spec(FILES.onnx) == read_spec(FILES.safetensors)


def test_metadata_are_those_that_onnx_reads() -> None:
    onnx = pytest.importorskip("onnx")
    expected = {e.key: e.value for e in onnx.load(str(FILES.onnx)).metadata_props}
    assert FILES.onnx is not None
    assert onnx_metadata(FILES.onnx) == expected
    assert SPEC_KEY in expected


@pytest.mark.parametrize("part", [0, 1, 2, 100, 4096, 0.5, 0.9, -1])
def test_a_file_that_was_cut_off_is_damaged(part: float, tmp_path: Path) -> None:
    assert FILES.onnx is not None
    whole = FILES.onnx.read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: int(part * len(whole)) if isinstance(part, float) else part])
    with pytest.raises(ModelError, match="no whole ONNX file"):
        read_onnx_spec(path)


@pytest.mark.parametrize(
    "content", [b"garbage", b"\x00" * 64, b"\xff" * 64, b"PK\x03\x04" + bytes(99), b"<html></html>"]
)
def test_other_files_are_no_models(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX model"):
        read_onnx_spec(path)


def test_an_onnx_file_of_somebody_else_is_none_of_ours(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(FILES.onnx))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ModelError, match="no model spec"):
        read_onnx_spec(tmp_path / "other.onnx")
    with pytest.raises(InputError, match="no model file"):
        read_onnx_spec(tmp_path / "none.onnx")


def test_reading_it_loads_no_runtime() -> None:
    code = (
        "import sys; from histocyte.model.onnx.metadata import read_onnx_spec; "
        f"print(read_onnx_spec({str(FILES.onnx)!r}).name, {{'openvino', 'onnx', 'torch'}} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.split(maxsplit=1) == [DEFAULT_MODEL, "set()\n"]
