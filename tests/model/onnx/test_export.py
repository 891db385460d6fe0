"""What an exported file says, and what it keeps to itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import histocyte
from histocyte.decoders.unet import UNet
from histocyte.model.build import build_segmenter
from histocyte.model.onnx.export import export_onnx
from histocyte.model.zoo import DEFAULT_MODEL, find_model
from histocyte.recipes.hover_small import hover_small

torch.set_num_threads(1)
OF_THIS_MACHINE = (
    str(Path(histocyte.__file__).parent),
    str(Path(torch.__file__).parent),
    "stack_trace",
    "site-packages",
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = hover_small()
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    export_onnx(spec, build_segmenter(spec).eval(), path)
    return path


def test_no_file_names_folders_of_the_machine_it_was_made_on(exported: Path) -> None:
    bundled = find_model(DEFAULT_MODEL).onnx
    assert bundled is not None
    for path in (exported, bundled):
        content = path.read_bytes()
        assert [text for text in OF_THIS_MACHINE if text.encode() in content] == []


def test_a_unet_is_exported_with_fewer_operations_and_stays_as_it_is(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    spec = hover_small()
    network = build_segmenter(spec).eval()
    decoder = network.decoder
    assert isinstance(decoder, UNet)
    export_onnx(spec, network, tmp_path / "small.onnx")
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "small.onnx")).graph.node]
    assert kinds.count("ConvTranspose") == len(decoder.steps)
    assert "Resize" not in kinds
    assert network.decoder is decoder
