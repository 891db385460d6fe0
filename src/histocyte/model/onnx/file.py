"""ONNX files of models: the spec in their metadata, large weights stored in half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from histocyte.core.errors import ModelError, require
from histocyte.files.atomic import write_atomically
from histocyte.files.foreign import foreign_parser
from histocyte.model.checkpoint import SPEC_KEY
from histocyte.model.onnx.metadata import check_numbers, read_onnx_spec
from histocyte.model.spec import ModelSpec

__all__ = ["LARGEST_BYTES", "read_onnx", "write_onnx"]

LARGEST_BYTES = 2**31 - 2**20
"""A protobuf message holds 2 GiB and no more; a file is one message."""
_SMALL = 256
"""Tensors of fewer values stay float32: they take no room, and normalisation is where precision counts."""


def write_onnx(
    model: Any, spec: ModelSpec, path: Path, *, facts: dict[str, str] | None = None, full_precision: bool = False
) -> None:
    """Write a graph as a model file, whole or not at all: weights in half precision, cast back when it is loaded.

    Args:
        model: An `onnx.ModelProto` with float32 weights (or 8-bit ones, which stay); it is changed.
        spec: What it is.
        path: The file.
        facts: Further entries of the metadata.
        full_precision: Keep float32 weights as they are, in twice the room.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelError: The model is larger than an ONNX file can be.
        DiskError: The file cannot be written.
    """
    onnx = require("onnx", extra="export")
    if not full_precision:
        _halve_weights(model, onnx)
    del model.metadata_props[:]
    for key, value in {SPEC_KEY: spec.model_dump_json(), **(facts or {})}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    size = sum(len(initializer.raw_data) for initializer in model.graph.initializer)
    if size > LARGEST_BYTES:
        raise ModelError(
            f"'{spec.name}' takes {size / 1e9:.1f} GB {'in full' if full_precision else 'even in half'} precision, "
            "and an ONNX file holds 2 GB. "
            "Run it with --runtime torch."
        )
    with write_atomically(path) as file:
        file.write(model.SerializeToString())


def read_onnx(path: Path) -> tuple[ModelSpec, Any]:
    """Spec and graph of a model file, its weights in float32 again.

    Raises:
        MissingExtraError: onnx is not installed.
        InputError: No such file.
        ModelError: Not a model file of histocyte.
    """
    onnx = require("onnx", extra="export")
    spec = read_onnx_spec(path)
    check_numbers(path)
    with foreign_parser(lambda why: ModelError(f"'{path}' is damaged ({why}). Copy it again, or export it again.")):
        model = onnx.load(str(path))
    _widen_weights(model, onnx)
    return spec, model


def _halve_weights(model: Any, onnx: Any) -> None:
    """Store every large float32 initializer as float16 and cast it back at its use."""
    helper, numpy_helper, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    casts = []
    for initializer in model.graph.initializer:
        if initializer.data_type != kinds.FLOAT or int(np.prod(initializer.dims)) < _SMALL:
            continue
        name = initializer.name
        values = numpy_helper.to_array(initializer)
        most = np.finfo(np.float16).max
        initializer.CopyFrom(numpy_helper.from_array(values.clip(-most, most).astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [initializer.name], [name], to=kinds.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])


def _widen_weights(model: Any, onnx: Any) -> None:
    """What `_halve_weights` did, undone but for the precision."""
    numpy_helper, kinds = onnx.numpy_helper, onnx.TensorProto
    halves = {i.name: i for i in model.graph.initializer if i.data_type == kinds.FLOAT16}
    others = []
    for node in model.graph.node:
        half = halves.get(node.input[0]) if node.op_type == "Cast" else None
        if half is None:
            others.append(node)
        else:
            half.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(half).astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(others)
