from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.timm_encoder import TimmPyramid, TimmViT
from histocyte.encoders.weights import load_encoder_weights

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pyramid() -> TimmPyramid:
    return TimmPyramid("resnet18", depths=(0, 1))


@pytest.fixture
def weights(pyramid: TimmPyramid) -> dict[str, torch.Tensor]:
    """As timm saves the whole network: also stages and a classifier that the pyramid does not have."""
    state = {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in pyramid.body.state_dict().items()}
    return {**state, "layer4.0.conv1.weight": torch.zeros(3), "fc.weight": torch.zeros(2, 2)}


def test_weights_arrive_and_deeper_stages_are_left_out(
    tmp_path: Path, pyramid: TimmPyramid, weights: dict[str, torch.Tensor]
) -> None:
    save_file(weights, tmp_path / "resnet.safetensors")
    load_encoder_weights(pyramid, tmp_path / "resnet.safetensors")
    for key, value in pyramid.body.state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_missing_left_over_and_misshapen_weights_are_listed(
    tmp_path: Path, pyramid: TimmPyramid, weights: dict[str, torch.Tensor]
) -> None:
    del weights["bn1.bias"]
    weights["layer1.7.conv1.weight"] = torch.zeros(1)
    weights["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    save_file(weights, tmp_path / "other.safetensors")
    before = {k: v.clone() for k, v in pyramid.body.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_encoder_weights(pyramid, tmp_path / "other.safetensors")
    assert "missing: bn1.bias;" in str(caught.value)
    assert "left over: layer1.7.conv1.weight;" in str(caught.value)
    assert "of another shape: conv1.weight (64, 3, 3, 3) for (64, 3, 7, 7)" in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in pyramid.body.state_dict().items())


def test_a_cut_efficientnet_takes_the_whole_networks_file(tmp_path: Path) -> None:
    encoder = TimmPyramid("mobilenetv2_100", depths=(0, 1, 2))
    weights = {k: v.clone() for k, v in encoder.body.state_dict().items()}
    deeper = {f"{stage}0.conv_pw.weight": torch.zeros(2) for stage in encoder.unused}
    assert encoder.unused == ("blocks.3.", "blocks.4.", "blocks.5.", "blocks.6.")
    save_file({**weights, **deeper, "classifier.weight": torch.zeros(2)}, tmp_path / "whole.safetensors")
    load_encoder_weights(encoder, tmp_path / "whole.safetensors")
    save_file({**weights, "blocks.2.9.conv_pw.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"left over: blocks\.2\.9"):
        load_encoder_weights(encoder, tmp_path / "other.safetensors")


def test_a_vit_takes_a_file_with_a_classifier(tmp_path: Path) -> None:
    encoder = TimmViT("vit_tiny_patch16_224")
    weights = {k: torch.randn_like(v) for k, v in encoder.body.state_dict().items()}
    save_file({**weights, "head.weight": torch.zeros(2, 2)}, tmp_path / "vit.safetensors")
    load_encoder_weights(encoder, tmp_path / "vit.safetensors")
    assert all(torch.equal(v, weights[k]) for k, v in encoder.body.state_dict().items())


def test_files_that_are_none_are_said(tmp_path: Path, pyramid: TimmPyramid) -> None:
    with pytest.raises(InputError, match="There is no weights file"):
        load_encoder_weights(pyramid, tmp_path / "absent.safetensors")
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ModelError, match="pickles are not read"):
        load_encoder_weights(pyramid, tmp_path / "pickle.pth")
