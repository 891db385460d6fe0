from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.catalog.find import CARDS
from histocyte.encoders.weights.hub import cached, download, find_weights, shards, weights_in

from ..conftest import Hub

RESNET = CARDS["resnet18"]


def test_a_file_and_a_folder_need_no_hub(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("pytorch_model.bin", "model.safetensors", "config.json"):
        (tmp_path / "mine" / name).write_bytes(b"x")
    assert find_weights(tmp_path / "mine").name == "model.safetensors"
    assert find_weights(tmp_path / "mine" / "pytorch_model.bin").name == "pytorch_model.bin"
    assert hub.asked == []


def test_a_folder_with_one_file_of_any_name_will_do(tmp_path: Path) -> None:
    (tmp_path / "vit256_small_dino.pth").write_bytes(b"x")
    assert weights_in(tmp_path).name == "vit256_small_dino.pth"
    (tmp_path / "vit4k_xs_dino.pth").write_bytes(b"x")
    with pytest.raises(InputError, match=r"weights files there: vit256_small_dino\.pth, vit4k_xs_dino\.pth"):
        weights_in(tmp_path)


def test_a_repository_of_the_cache_is_a_folder_too(hub: Hub) -> None:
    snapshot = hub.put_into_cache("owner/name", {"model.safetensors": b"x"})
    assert find_weights(hub.cache / "models--owner--name") == snapshot / "model.safetensors"
    hub.put_into_cache("owner/name", {"model.safetensors": b"y"}, revision="0" * 40)
    assert find_weights(hub.cache / "models--owner--name") == snapshot / "model.safetensors"
    (hub.cache / "models--owner--name" / "refs" / "main").unlink()
    with pytest.raises(InputError, match="holds 2 snapshots"):
        find_weights(hub.cache / "models--owner--name")


def test_a_card_is_downloaded_once(hub: Hub) -> None:
    hub.files[RESNET.hub] = {"model.safetensors": b"weights"}
    assert cached(RESNET) is None
    path = find_weights("resnet18")
    assert path.read_bytes() == b"weights"
    assert hub.asked == [(RESNET.hub, "model.safetensors", "main")]
    assert find_weights("resnet18") == path == cached(RESNET)
    assert len(hub.asked) == 1


def test_other_names_of_the_weights_are_tried_and_shards_fetched(hub: Hub) -> None:
    index = json.dumps({"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}).encode()
    hub.files[RESNET.hub] = {
        "pytorch_model.bin.index.json": index,
        "pytorch_model-1.bin": b"1",
        "pytorch_model-2.bin": b"2",
    }
    path = download(RESNET)
    assert path.name == "pytorch_model.bin.index.json"
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(hub.files[RESNET.hub])
    (path.parent / "pytorch_model-2.bin").unlink()
    assert cached(RESNET) is None  # not whole
    del hub.files[RESNET.hub]["pytorch_model-2.bin"]
    with pytest.raises(InputError, match=r"lacks 'pytorch_model-2\.bin', which its index lists"):
        download(RESNET)


def test_a_pinned_revision_is_asked_for(hub: Hub) -> None:
    hub.files["owkin/phikon-v2"] = {"model.safetensors": b"x"}
    download(CARDS["phikon-v2"])
    assert hub.asked == [("owkin/phikon-v2", "model.safetensors", CARDS["phikon-v2"].revision)]


def test_another_file_than_the_cards_is_refused(hub: Hub) -> None:
    hub.files[RESNET.hub] = {"model.safetensors": b"weights"}
    good = dataclasses.replace(RESNET, sha256=hashlib.sha256(b"weights").hexdigest())
    assert download(good).is_file()
    with pytest.raises(ModelError, match="SHA-256 is .*, not 0000"):
        download(dataclasses.replace(RESNET, sha256="0000"))


@pytest.mark.parametrize(
    ("error", "token", "says"),
    [
        (errors.GatedRepoError, None, "is gated, and there is no token.*hf auth login"),
        (errors.GatedRepoError, "hf_x", "is gated, and your token has no access"),
        (errors.RepositoryNotFoundError, None, "no repository 'MahmoodLab/UNI'.*hf auth login"),
        (errors.RevisionNotFoundError, None, "has no revision 'main'"),
        (errors.HfHubHTTPError, None, "refuses 'MahmoodLab/UNI': refused"),
        (errors.LocalEntryNotFoundError, None, "cannot be reached.*download it elsewhere"),
        (errors.OfflineModeIsEnabled, None, "cannot be reached"),
    ],
)
def test_why_the_hub_gives_nothing_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, error: type[Exception], token: str | None, says: str
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
    hub.error = error
    with pytest.raises(InputError, match=says) as caught:
        find_weights("uni")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_on_the_hub_and_names_that_are_none(hub: Hub) -> None:
    with pytest.raises(InputError, match="not on the hub: get them from the repository mahmoodlab/HIPT"):
        find_weights("vit256")
    with pytest.raises(InputError, match=r"no weights file or folder 'nothing\.pth'.*hub:owner/name"):
        find_weights("nothing.pth")
    hub.files[RESNET.hub] = {"README.md": b""}
    with pytest.raises(InputError, match="has none of model.safetensors"):
        find_weights("resnet18")


def test_an_index_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    for text in ("[]", "{}", '{"weight_map": 3}', "nothing"):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        with pytest.raises(ModelError, match="not an index of sharded weights"):
            shards(tmp_path / "model.safetensors.index.json")
