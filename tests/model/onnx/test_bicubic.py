"""Resampling that every runtime does as PyTorch does."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.model.onnx.bicubic import bicubic_translations

torch.set_num_threads(1)


class Resampled(nn.Module):
    """What a vision transformer does with its table of positions."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=self.size, mode="bicubic", antialias=True, align_corners=False)


@pytest.mark.parametrize("size", [(16, 16), (9, 30)])
def test_runtimes_resample_as_torch_does(size: tuple[int, int], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    openvino, onnxruntime = pytest.importorskip("openvino"), pytest.importorskip("onnxruntime")
    given = torch.randn(1, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    network = Resampled(size).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        program = torch.onnx.export(
            network, (given,), dynamo=True, verbose=False, custom_translation_table=bicubic_translations()
        )
    assert program is not None
    path = tmp_path / "resample.onnx"
    path.write_bytes(program.model_proto.SerializeToString())
    expected, images = network(given).numpy(), given.numpy()
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled([images])[0], expected, atol=2e-5)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {session.get_inputs()[0].name: images})[0], expected, atol=2e-5)
