from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import save, save_file

from histocyte.encoders.catalog.find import CARDS
from histocyte.encoders.networks.timm import TimmPyramid
from histocyte.encoders.weights.availability import check

from ..conftest import Hub

torch.set_num_threads(1)
CARD = CARDS["mobilenetv2"]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return dict(TimmPyramid("mobilenetv2_100", depths=(0, 1, 2, 3, 4)).body.state_dict())


def test_weights_in_the_cache_that_fit(hub: Hub, weights: dict[str, torch.Tensor]) -> None:
    hub.put_into_cache(CARD.hub, {"model.safetensors": save(weights)})
    found = check(CARD)
    assert found.available
    assert found.path is not None
    assert [s.name for s in found.steps] == ["weights here", "fit"]
    assert "tensors, all of them this encoder's" in found.steps[1].note
    assert found.way_out == ""
    assert hub.asked == []


def test_weights_of_another_encoder(tmp_path: Path, hub: Hub, weights: dict[str, torch.Tensor]) -> None:
    del weights["conv_stem.weight"]
    save_file(weights, tmp_path / "other.safetensors")
    found = check(CARD, tmp_path / "other.safetensors")
    assert not found.available
    assert "missing: conv_stem.weight" in found.way_out


def test_weights_that_are_not_there(tmp_path: Path, hub: Hub) -> None:
    assert "no weights file or folder" in check(CARD, tmp_path / "none.pth").way_out
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "1.safetensors"}}')
    assert "not beside it: 1.safetensors" in check(CARD, index).way_out
    found = check(CARDS["vit256"])
    assert not found.available
    assert "by --weights" in found.way_out


def test_the_hub_is_asked_for_the_head_alone(hub: Hub) -> None:
    hub.files[CARD.hub] = {"pytorch_model.bin": bytes(5_000_000)}
    found = check(CARD)
    assert found.available
    assert found.path is None
    assert {s.name: s.ok for s in found.steps} == {"weights here": None, "token": None, "access": True, "disk": True}
    assert "pytorch_model.bin (5 MB)" in found.steps[2].note
    assert list(hub.cache.iterdir()) == []


def test_a_full_disk_is_noticed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files[CARD.hub] = {"model.safetensors": bytes(5_000_000)}
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=4_000_000))
    found = check(CARD)
    assert not found.available
    assert "4 MB free" in found.way_out
    assert "5 MB needed" in found.way_out
    assert "HF_HOME" in found.way_out


def test_gated_without_access_and_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.error = errors.GatedRepoError
    assert "hf auth login" in check(CARDS["uni"]).way_out
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    found = check(CARDS["uni"])
    assert found.steps[1].ok
    assert "no access" in found.way_out
    hub.error = ConnectionError
    assert "cannot be reached" in check(CARDS["uni"]).way_out
