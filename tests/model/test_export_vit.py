"""A vision transformer leaves torch with its sizes free, positional embeddings included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from histocyte.model.build import build_segmenter
from histocyte.model.onnx.export import export_onnx
from histocyte.model.segmenter import activate
from histocyte.recipes.cellvit import cellvit

torch.set_num_threads(1)
pytest.importorskip("onnx")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's exporter warns about itself
def test_an_exported_vit_takes_any_size(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    spec = cellvit("vit_tiny_patch16_224", compatible=True).with_changes(tile_px=128)
    model = build_segmenter(spec).eval()
    export_onnx(spec, model, tmp_path / "vit.onnx")
    session = runtime.InferenceSession(str(tmp_path / "vit.onnx"), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (1, 96, 160, 3), dtype=np.uint8)
    with torch.inference_mode():
        maps = activate(model(torch.from_numpy(images).permute(0, 3, 1, 2).float()), model.specs).numpy()
    exported = session.run(None, {"images": images})[0]
    assert exported.shape == maps.shape
    # Weights are stored as float16.
    assert np.abs(exported - maps).max() < 1e-2
