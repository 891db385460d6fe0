"""A model file may leave out its encoder's published weights; with them, and only with them, it is the same model."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from histocyte.core.errors import InputError, ModelError
from histocyte.core.taxonomies import CONSEP
from histocyte.encoders.weights.fingerprint import encoder_sha256, tensor_sha256
from histocyte.model.adapters import add_adapters, merge_adapters
from histocyte.model.build import build_segmenter
from histocyte.model.checkpoint import load_model, read_spec, save_model
from histocyte.model.delta import FOLDER_VARIABLE, delta_of
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import EncoderWeights, ModelSpec
from histocyte.recipes.hover_unet import hover_unet

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_other_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return hover_unet(taxonomy=CONSEP).with_changes(
        encoder={"name": "timm_pyramid", "options": {"name": "mobilevit_xxs", "depths": [1, 2, 3]}},
        decoder={"name": "unet", "options": {"widths": [8, 8], "depths": [1, 1]}},
    )


@pytest.fixture(scope="module")
def base(spec: ModelSpec) -> Segmenter:
    """A model whose encoder has just been given its published weights."""
    torch.manual_seed(0)
    return build_segmenter(spec).eval()


@pytest.fixture
def published(base: Segmenter, tmp_path: Path) -> Path:
    path = tmp_path / "from-publisher" / "vit.safetensors"
    path.parent.mkdir()
    save_file({k: v.clone() for k, v in base.encoder.body.state_dict().items()}, path)
    return path


def write(spec: ModelSpec, base: Segmenter, trained: Segmenter, path: Path, **named: str) -> Path:
    state = base.encoder.state_dict()
    facts = EncoderWeights(sha256=encoder_sha256(state), file="vit.safetensors", included=False, **named)
    delta = delta_of(trained, {k: tensor_sha256(v) for k, v in state.items()})
    save_model(path, spec.with_changes(encoder_weights=facts), delta)
    return path


def keys(path: Path) -> set[str]:
    with safe_open(path, framework="pt") as file:
        return set(file.keys())


def out(model: Segmenter) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.linspace(0, 255, 3 * 64 * 64).reshape(1, 3, 64, 64))


def adapted(base: Segmenter) -> Segmenter:
    model = copy.deepcopy(base)
    layers = add_adapters(model.encoder, rank=2)
    for layer in layers:
        nn.init.normal_(model.encoder.get_submodule(layer).lora_b, std=0.2)  # type: ignore[arg-type]
    nn.init.normal_(model.heads.heads[0].bias)  # type: ignore[union-attr,index]
    return model


def test_of_a_frozen_encoder_nothing_is_written(
    spec: ModelSpec, base: Segmenter, published: Path, tmp_path: Path
) -> None:
    path = write(spec, base, base, tmp_path / "model.safetensors")
    assert not any(k.startswith("encoder.") for k in keys(path))
    assert not read_spec(path).encoder_weights.included  # type: ignore[union-attr]
    loaded, model = load_model(path, published)
    assert torch.equal(out(model), out(base))
    assert loaded.encoder_weights is not None
    assert loaded.encoder_weights.included
    save_model(tmp_path / "whole.safetensors", loaded, model.state_dict())
    assert torch.equal(out(load_model(tmp_path / "whole.safetensors")[1]), out(base))


def test_of_adapters_both_factors_are_written_and_merged_when_read(
    spec: ModelSpec, base: Segmenter, published: Path, tmp_path: Path
) -> None:
    trained = adapted(base)
    path = write(spec, base, trained, tmp_path / "model.safetensors")
    encoders = {k for k in keys(path) if k.startswith("encoder.")}
    assert encoders
    assert all(k.endswith(("lora_a", "lora_b")) for k in encoders)
    model = load_model(path, published)[1]
    assert (out(trained) - out(base)).abs().max() > 1e-2
    torch.testing.assert_close(out(model), out(trained), rtol=1e-4, atol=1e-4)
    assert model.state_dict().keys() == base.state_dict().keys() == merge_adapters(trained).state_dict().keys()


def test_of_changed_weights_all_are_written(spec: ModelSpec, base: Segmenter, published: Path, tmp_path: Path) -> None:
    trained = copy.deepcopy(base)
    changed = [k for k in base.encoder.state_dict() if k.startswith("body.stages_3.")][:3]
    with torch.no_grad():
        for key in changed:
            trained.encoder.state_dict()[key].add_(1)
    path = write(spec, base, trained, tmp_path / "model.safetensors")
    assert {k for k in keys(path) if k.startswith("encoder.")} == {f"encoder.{k}" for k in changed}
    assert torch.equal(out(load_model(path, published)[1]), out(trained))


def test_published_weights_are_found_where_they_are_kept(
    spec: ModelSpec, base: Segmenter, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(spec, base, base, tmp_path / "model.safetensors", source="hub:someone/great-encoder")
    with pytest.raises(InputError) as caught:
        load_model(path)
    for part in ("'vit.safetensors' of 'hub:someone/great-encoder'", "mobilevit_xxs", "hf download someone/great-enc"):
        assert part in str(caught.value)
    assert FOLDER_VARIABLE in str(caught.value)

    monkeypatch.setenv(FOLDER_VARIABLE, f"{tmp_path / 'nowhere'}:{published.parent}")
    assert torch.equal(out(load_model(path)[1]), out(base))
    monkeypatch.setenv(FOLDER_VARIABLE, str(published))
    assert torch.equal(out(load_model(path)[1]), out(base))
    monkeypatch.delenv(FOLDER_VARIABLE)
    published.parent.rename(tmp_path / "great-encoder")
    assert torch.equal(out(load_model(path)[1]), out(base))


def test_other_weights_are_refused(spec: ModelSpec, base: Segmenter, published: Path, tmp_path: Path) -> None:
    path = write(spec, base, base, tmp_path / "model.safetensors")
    other = {k: v.clone() for k, v in base.encoder.body.state_dict().items()}
    next(v for v in other.values() if v.is_floating_point()).view(-1)[0] += 1e-3
    save_file(other, published)
    with pytest.raises(ModelError, match="holds other weights than"):
        load_model(path, published)


def test_a_file_that_is_cut_off_is_refused_as_that(spec: ModelSpec, base: Segmenter, tmp_path: Path) -> None:
    path = write(spec, base, base, tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is damaged or cut off .* Copy it again"):
        load_model(path)


def test_what_a_delta_itself_must_hold_is_checked(
    spec: ModelSpec, base: Segmenter, published: Path, tmp_path: Path
) -> None:
    path = write(spec, base, base, tmp_path / "model.safetensors")
    delta = delta_of(base, {k: tensor_sha256(v) for k, v in base.encoder.state_dict().items()})
    facts = read_spec(path)
    save_model(path, facts, {k: v for k, v in delta.items() if k != "heads.heads.1.bias"})
    with pytest.raises(ModelError, match=r"lacks weights of its own: heads\.heads\.1\.bias"):
        load_model(path, published)
    save_model(path, facts, {**delta, "encoder.body.stages_9.bias": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"left over: \['encoder\.body\.stages_9\.bias'\]"):
        load_model(path, published)
    whole = facts.with_changes(encoder_weights=None)
    save_model(path, whole, delta)
    with pytest.raises(ModelError, match=r"Missing: \['encoder\."):
        load_model(path, published)
