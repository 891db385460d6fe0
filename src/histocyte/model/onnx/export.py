"""A model as an ONNX file that runs without torch: pixels in, maps out, spec in its metadata."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from histocyte.core.errors import require
from histocyte.decoders.unet import UNet
from histocyte.decoders.unet_merged import MergedUNet
from histocyte.model.onnx.bicubic import bicubic_translations
from histocyte.model.onnx.file import write_onnx
from histocyte.model.onnx.metadata import FEATURES_KEY
from histocyte.model.segmenter import Segmenter, activate
from histocyte.model.spec import ModelSpec

__all__ = ["Deployed", "export_onnx", "onnx_graph"]


class Deployed(nn.Module):
    """What runtimes run: images (B, H, W, 3) uint8 RGB → maps (B, C, H, W) float32, activated.

    Args:
        segmenter: The network.
        features: Give the deepest features (B, h, w, D) float32 too, brought to the range of half precision.
        merged: Do a U-Net's steps with fewer operations (`decoders.unet_merged`).
    """

    def __init__(self, segmenter: Segmenter, *, features: bool = False, merged: bool = True) -> None:
        super().__init__()
        decoder = segmenter.decoder
        merges = merged and isinstance(decoder, UNet)
        self.segmenter = segmenter.with_decoder(MergedUNet(cast(UNet, decoder))) if merges else segmenter
        self.features = features

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Predict."""
        pixels = images.permute(0, 3, 1, 2).float()
        if not self.features:
            return activate(self.segmenter(pixels).float(), self.segmenter.specs)
        raw, deepest = self.segmenter.forward_with_features(pixels)
        most = torch.finfo(torch.float16).max
        return activate(raw.float(), self.segmenter.specs), deepest.float().clamp(-most, most).permute(0, 2, 3, 1)


def export_onnx(
    spec: ModelSpec,
    segmenter: Segmenter,
    path: str | Path,
    *,
    features: Mapping[str, object] | None = None,
    full_precision: bool = False,
) -> None:
    """Write the ONNX file: batch, height and width free (multiples of the encoder's), weights in half precision.

    Weights are stored as float16 and cast when the file is loaded; all arithmetic stays float32.

    Args:
        spec: What the model is.
        segmenter: Its network.
        path: The file.
        features: What the deepest features are (the fields of `model.features.FeatureInfo`), for a file that gives
            them as its second output.
        full_precision: Store weights as float32: twice the file, and maps as PyTorch's to its last digits. For maps of
            lengths (rays, distances), which feel the rounding of weights most.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelError: The model is larger than an ONNX file can be.
        DiskError: The file cannot be written.
    """
    graph = onnx_graph(spec, segmenter, features=features is not None)
    facts = None if features is None else {FEATURES_KEY: json.dumps(dict(features))}
    write_onnx(graph, spec, Path(path), facts=facts, full_precision=full_precision)


def onnx_graph(spec: ModelSpec, segmenter: Segmenter, *, features: bool = False, merged: bool = True) -> Any:
    """The network as an `onnx.ModelProto` with float32 weights, not yet a model file.

    Args:
        spec: What the model is.
        segmenter: Its network.
        features: Give the deepest features as a second output.
        merged: As for `Deployed`.

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
            Deployed(segmenter, features=features, merged=merged).eval(),
            (images,),
            input_names=["images"],
            output_names=["maps", "features"] if features else ["maps"],
            dynamic_shapes=(free,),
            custom_translation_table=bicubic_translations(),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    _forget_origin(graph)
    return graph


def _forget_origin(model: Any) -> None:
    """Drop the exporter's notes on every node: stack traces, with the paths of the machine that it ran on."""
    parts = [model, model.graph, *model.functions]
    for part in (model.graph, *model.functions):
        parts += [*part.node, *part.value_info]
    parts += [*model.graph.input, *model.graph.output, *model.graph.initializer]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
