"""Weights are halved in the file and whole again when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histocyte.core.errors import ModelError
from histocyte.model.checkpoint import read_spec
from histocyte.model.onnx import file
from histocyte.model.onnx.file import read_onnx, write_onnx
from histocyte.model.onnx.metadata import onnx_metadata
from histocyte.model.zoo import DEFAULT_MODEL, bundled_models

onnx = pytest.importorskip("onnx")
SPEC = read_spec(bundled_models()[DEFAULT_MODEL].safetensors or Path())


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "large": rng.normal(size=(32, 16)).astype(np.float32),
        "small": rng.normal(size=(16,)).astype(np.float32),
        "beyond": np.full((16, 16), 1e6, np.float32),
        "integers": np.arange(512, dtype=np.int8).reshape(16, 32),
    }


def graph_of(weights: dict[str, np.ndarray]) -> Any:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("MatMul", ["images", "large"], ["maps"], "product")
    graph = onnx.helper.make_graph(
        [node],
        "graph",
        [value("images", onnx.TensorProto.FLOAT, [None, 32])],
        [value("maps", onnx.TensorProto.FLOAT, [None, 16])],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return onnx.helper.make_model(graph)


def test_large_weights_are_stored_in_half_precision_and_all_others_as_they_are(
    weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(graph_of(weights), SPEC, path, facts={"more": "facts"})
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(str(path)).graph.initializer}
    assert {name: values.dtype.name for name, values in stored.items()} == {
        "large_half": "float16",
        "small": "float32",
        "beyond_half": "float16",
        "integers": "int8",
    }
    assert np.isfinite(stored["beyond_half"]).all()
    assert onnx_metadata(path)["more"] == "facts"
    spec, graph = read_onnx(path)
    assert spec == SPEC
    found = {i.name: onnx.numpy_helper.to_array(i) for i in graph.graph.initializer}
    assert {name: values.dtype for name, values in found.items()} == {n: v.dtype for n, v in weights.items()}
    np.testing.assert_allclose(found["large"], weights["large"], rtol=1e-3)
    assert [node.op_type for node in graph.graph.node] == ["MatMul"]


def test_weights_may_stay_in_full_precision(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(graph_of(weights), SPEC, path, full_precision=True)
    spec, graph = read_onnx(path)
    assert spec == SPEC
    found = {i.name: onnx.numpy_helper.to_array(i) for i in graph.graph.initializer}
    assert found.keys() == weights.keys()
    for name, values in weights.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_model_beyond_what_a_file_holds_is_refused(
    weights: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LARGEST_BYTES", 1000)
    with pytest.raises(ModelError, match="--runtime torch"):
        write_onnx(graph_of(weights), SPEC, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
