"""A model's convolutions and matrix products in 8-bit integers, with ranges measured on real tiles.

Post-training quantisation as in Jacob et al. 2018 (doi 10.1109/CVPR.2018.00286): a real value is scale × (integer -
zero). Weights get one scale an output channel, symmetric about zero; activations one scale a tensor, from their least
and greatest value on the tiles. The graph says so by pairs of QuantizeLinear and DequantizeLinear around each layer,
which OpenVINO and ONNX Runtime fuse.

What is chosen here was measured on the bundled model (`docs/models.md`):

- Weights have 7 bits. With 8, processors without VNNI add two products in 16 bits, which overflow: maps then differ by
  up to 1.0 from those of other processors. With 7, they are the same to the last bit.
- Ranges are least and greatest. Cutting off the rarest values (99.99 or 99.9 per cent) gave larger errors.
- Only layers with weights compute in integers. Adding, joining and enlarging maps in them as well brought twice the
  error and no speed.
- The last layers, whose outputs are the maps, stay in float: they cost next to nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import ModelError, require

__all__ = ["layers_with_weights", "quantise", "read_out_layers"]

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_CARRIED = ("Clip", "MaxPool", "Relu")
"""What is done to integers as to reals, once the layer before has been brought to them."""
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""What tells onnxruntime that the graph is simplified already; torch's exporter has done that."""


def quantise(model: Any, tiles: Sequence[NDArray[np.uint8]]) -> tuple[Any, tuple[str, ...]]:
    """The graph with 8-bit layers.

    Args:
        model: An `onnx.ModelProto` as `onnx_graph` or `read_onnx` give it, of float32 weights.
        tiles: (H, W, 3) uint8 RGB of the kind that the model will see; sides are multiples of the model's.

    Returns:
        The new graph, and the names of the layers that stay in float.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelError: The model has 8-bit layers already, or none that could have.
    """
    onnx = require("onnx", extra="export")
    require("onnxruntime", extra="export")
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise ModelError("The model computes in 8-bit integers already. Pass the one it was made from.")
    layers, last = layers_with_weights(model), read_out_layers(model)
    if not layers - last:
        raise ModelError("The model has no layer that could compute in 8-bit integers.")
    return _static(_copy(model, onnx), tiles, sorted(last), onnx), tuple(sorted(last))


def layers_with_weights(model: Any) -> set[str]:
    """Names of the nodes that multiply by weights."""
    weights = {initializer.name for initializer in model.graph.initializer}
    return {n.name for n in model.graph.node if n.op_type in _LAYERS and any(i in weights for i in n.input[1:2])}


def read_out_layers(model: Any) -> set[str]:
    """Names of the last layers with weights before each output: nothing that has weights comes after them."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    layers = layers_with_weights(model)
    found: set[str] = set()
    wanted, seen = [output.name for output in model.graph.output[:1]], set()
    while wanted:
        name = wanted.pop()
        node = made_by.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.name in layers:
            found.add(node.name)
        else:
            wanted.extend(node.input)
    return found


def _static(model: Any, tiles: Sequence[NDArray[np.uint8]], float_layers: list[str], onnx: Any) -> Any:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    entry = model.metadata_props.add()
    entry.key, entry.value = _PREPARED
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            os.fspath(out),
            _Tiles(tiles),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*_LAYERS, *_CARRIED],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=float_layers,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False, "MatMulConstBOnly": True},
        )
        return onnx.load(str(out))


class _Tiles:
    """Tiles one by one, as onnxruntime's calibration asks for them."""

    def __init__(self, tiles: Sequence[NDArray[np.uint8]]) -> None:
        self._tiles: Iterator[NDArray[np.uint8]] = iter(tiles)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        tile = next(self._tiles, None)
        return None if tile is None else {"images": tile[None]}


def _copy(model: Any, onnx: Any) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
