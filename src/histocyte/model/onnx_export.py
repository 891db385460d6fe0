"""A model as an ONNX file that runs without torch: pixels in, maps out, spec in its metadata."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from histocyte.core.errors import DiskError, require
from histocyte.model.checkpoint import SPEC_KEY
from histocyte.model.segmenter import Segmenter, activate
from histocyte.model.spec import ModelSpec

__all__ = ["Deployed", "export_onnx"]


class Deployed(nn.Module):
    """What runtimes run: images (B, H, W, 3) uint8 RGB → maps (B, C, H, W) float32, activated."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: Tensor) -> Tensor:
        """Predict."""
        raw = self.segmenter(images.permute(0, 3, 1, 2).float())
        return activate(raw.float(), self.segmenter.specs)


def export_onnx(spec: ModelSpec, segmenter: Segmenter, path: str | Path) -> None:
    """Write the ONNX file: batch, height and width free (multiples of the encoder's), weights in half precision.

    Weights are stored as float16 and cast when the file is loaded; all arithmetic stays float32.

    Raises:
        MissingExtraError: onnx is not installed.
        DiskError: The file cannot be written.
    """
    onnx = require("onnx", extra="export")
    require("onnxscript", extra="export")
    path = Path(path)
    temporary = path.with_suffix(".part.onnx")
    side = spec.tile_px // 2
    images = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    free = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}
    try:
        torch.onnx.export(
            Deployed(segmenter).eval(),
            (images,),
            str(temporary),
            input_names=["images"],
            output_names=["maps"],
            dynamic_shapes=(free,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(str(temporary))
        _halve_weights(model, onnx)
        entry = model.metadata_props.add()
        entry.key, entry.value = SPEC_KEY, spec.model_dump_json()
        onnx.save(model, str(temporary))
        os.replace(temporary, path)
    except OSError as error:
        raise DiskError(f"The model '{path}' could not be written: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _halve_weights(model: Any, onnx: Any) -> None:
    """Store every large float32 initializer as float16 and cast it back at its use."""
    import numpy as np

    graph = model.graph
    helper, numpy_helper, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    casts = []
    for initializer in graph.initializer:
        if initializer.data_type != kinds.FLOAT or int(np.prod(initializer.dims)) < 256:
            continue
        half = numpy_helper.from_array(
            numpy_helper.to_array(initializer).astype(np.float16), f"{initializer.name}_half"
        )
        casts.append(helper.make_node("Cast", [half.name], [initializer.name], to=kinds.FLOAT))
        initializer.CopyFrom(half)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
