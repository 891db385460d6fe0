"""Which layers compute in 8-bit integers, and with how many bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from histocyte.core.errors import ModelError
from histocyte.model.onnx.file import read_onnx
from histocyte.model.onnx.quantise import layers_with_weights, quantise, read_out_layers
from histocyte.model.zoo import DEFAULT_MODEL, bundled_models
from histocyte.testing.synthetic import paint_tissue

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def graph() -> Any:
    path = bundled_models()[DEFAULT_MODEL].onnx
    assert path is not None
    return read_onnx(path)[1]


@pytest.fixture(scope="module")
def int8(graph: Any) -> tuple[Any, tuple[str, ...]]:
    image = paint_tissue((256, 256), seed=3).image
    return quantise(graph, [image[:128, :128], image[128:, 128:]])


def weights_of(model: Any) -> dict[str, tuple[str, Any]]:
    """Layer → kind of node that gives its weights, and the weights' values."""
    values = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    found = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            giver = made_by.get(node.input[1])
            found[node.name] = ("float", None) if giver is None else (giver.op_type, values[giver.input[0]])
    return found


def test_all_layers_but_the_last_have_weights_of_seven_bits(int8: tuple[Any, tuple[str, ...]]) -> None:
    # With the eighth bit, processors without VNNI overflow: maps were off by up to 1.0.
    found = weights_of(int8[0])
    assert len(found) == 25
    for name, (kind, values) in found.items():
        if name in int8[1]:
            assert kind == "float"
        else:
            assert kind == "DequantizeLinear"
            assert values.dtype == np.int8
            assert -64 <= values.min() < 0 < values.max() <= 64


def test_every_output_channel_has_a_scale_of_its_own(int8: tuple[Any, tuple[str, ...]]) -> None:
    values = {i.name: onnx.numpy_helper.to_array(i) for i in int8[0].graph.initializer}
    weights = [n for n in int8[0].graph.node if n.op_type == "DequantizeLinear" and n.input[0] in values]
    scales = [values[n.input[1]].size for n in weights if values[n.input[0]].ndim == 4]
    assert min(scales) > 1


def test_the_last_layers_are_those_that_give_the_maps(graph: Any) -> None:
    assert len(layers_with_weights(graph)) == 29
    heads = [n.name for n in graph.graph.node if any("heads" in i for i in n.input)]
    assert read_out_layers(graph) == set(heads)
    assert len(heads) == 3


def test_the_given_graph_stays_as_it_is(graph: Any, int8: tuple[Any, tuple[str, ...]]) -> None:
    assert not any("Linear" in node.op_type for node in graph.graph.node)
    assert not graph.metadata_props or all(e.key != "onnx.quant.pre_process" for e in graph.metadata_props)


def test_once_is_enough(int8: tuple[Any, tuple[str, ...]]) -> None:
    with pytest.raises(ModelError, match="already"):
        quantise(int8[0], [])
