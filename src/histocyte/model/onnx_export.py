"""A model as an ONNX file that runs without torch: pixels in, maps out, spec in its metadata."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from histocyte.core.errors import require
from histocyte.model.onnx_file import write_onnx
from histocyte.model.segmenter import Segmenter, activate
from histocyte.model.spec import ModelSpec

__all__ = ["Deployed", "export_onnx", "onnx_graph"]


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
        ModelError: The model is larger than an ONNX file can be.
        DiskError: The file cannot be written.
    """
    write_onnx(onnx_graph(spec, segmenter), spec, Path(path))


def onnx_graph(spec: ModelSpec, segmenter: Segmenter) -> Any:
    """The network as an `onnx.ModelProto` with float32 weights, not yet a model file.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    require("onnx", extra="export")
    require("onnxscript", extra="export")
    side = max(spec.multiple * 2, spec.tile_px // 2 // spec.multiple * spec.multiple)
    images = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    free = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        program = torch.onnx.export(
            Deployed(segmenter).eval(),
            (images,),
            input_names=["images"],
            output_names=["maps"],
            dynamic_shapes=(free,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto
