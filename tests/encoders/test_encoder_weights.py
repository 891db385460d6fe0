from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.networks.sam import SamEncoder
from histocyte.encoders.networks.timm import TimmPyramid, TimmViT
from histocyte.encoders.networks.timm_import import import_timm
from histocyte.encoders.weights.load import encoder_weights, load_encoder_weights

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
    (tmp_path / "number.pth").write_bytes(b"\x80\x02K\x01.")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("number.pth", "text.safetensors"):
        with pytest.raises(ModelError, match=name):
            load_encoder_weights(pyramid, tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="without weights by name"):
        load_encoder_weights(pyramid, tmp_path / "empty.pth")


class Harmful:
    """Would run code on loading."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_code_in_a_file_is_not_run(tmp_path: Path, pyramid: TimmPyramid, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Harmful()}, tmp_path / "harmful.bin")
    with pytest.raises(ModelError, match="never run"):
        load_encoder_weights(pyramid, tmp_path / "harmful.bin")
    assert capsys.readouterr().out == ""


TINY = {"embed_dim": 32, "depth": 4, "num_heads": 2}


def tiny_vit(image_size: int = 64, **more: object) -> TimmViT:
    """A ViT of four blocks with the parts that published ones have."""
    torch.manual_seed(0)
    return TimmViT("vit_tiny_patch16_224", image_size=image_size, arch_options={**TINY, **more})


def random_state(encoder: TimmViT) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {k: torch.randn(v.shape, generator=generator) for k, v in encoder.body.state_dict().items()}


def assert_has(encoder: TimmViT, weights: dict[str, torch.Tensor]) -> None:
    for key, value in encoder.body.state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_dinos_file_with_its_teacher_student_and_command_line(tmp_path: Path) -> None:
    """The layout of HIPT's vit256_small_dino.pth."""
    encoder = tiny_vit()
    weights = random_state(encoder)
    heads = {"module.head.mlp.0.weight": torch.zeros(3), "module.head.last_layer.weight_g": torch.zeros(2)}
    teacher = {f"module.backbone.{k}": v for k, v in weights.items()} | heads
    student = {k: torch.zeros_like(v) for k, v in teacher.items()}
    facts = {"epoch": 400, "args": argparse.Namespace(lr=0.1), "loss": np.float64(2.5), "optimizer": {"state": {}}}
    torch.save({"student": student, "teacher": teacher, **facts}, tmp_path / "vit256_small_dino.pth")
    load_encoder_weights(encoder, tmp_path / "vit256_small_dino.pth")
    assert_has(encoder, weights)


def transformers_names(weights: dict[str, torch.Tensor], *, dinov2: bool) -> dict[str, torch.Tensor]:
    """timm's names the other way: as transformers' ViT and DINOv2 save them."""
    theirs = {}
    for name, tensor in weights.items():
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        name = re.sub(r"^(cls_token)$", r"embeddings.\1", name)
        name = name.replace("pos_embed", "embeddings.position_embeddings")
        name = name.replace("reg_token", "embeddings.register_tokens")
        name = re.sub(r"^blocks\.", "encoder.layer.", re.sub(r"^norm\.", "layernorm.", name))
        name = re.sub(r"ls([12])\.gamma", r"layer_scale\1.lambda1", name.replace("attn.proj", "attention.output.dense"))
        if not dinov2:
            name = name.replace("norm1", "layernorm_before").replace("norm2", "layernorm_after")
            name = name.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        elif tensor.shape[0] == 2 * 40 or "fc2" in name:
            name = name.replace("mlp.fc1", "mlp.weights_in").replace("mlp.fc2", "mlp.weights_out")
        if ".attn.qkv." in name:
            for part, values in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                theirs[name.replace("attn.qkv", f"attention.attention.{part}")] = values.clone()
        else:
            theirs[name] = tensor
    return theirs


@pytest.mark.parametrize("prefix", ["", "vit."])
def test_a_vit_of_transformers(tmp_path: Path, prefix: str) -> None:
    """Phikon's layout."""
    encoder = tiny_vit()
    weights = random_state(encoder)
    theirs = {**transformers_names(weights, dinov2=False), "pooler.dense.weight": torch.zeros(2, 2)}
    save_file({prefix + k: v for k, v in theirs.items()}, tmp_path / "model.safetensors")
    load_encoder_weights(encoder, tmp_path)
    assert_has(encoder, weights)


def test_a_dinov2_of_transformers_with_registers_and_gates(tmp_path: Path) -> None:
    """Hibou's layout: a position for the class token too, where timm's DINOv2 with registers has none."""
    gates = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "mlp_ratio": 2.5, "init_values": 1e-5}
    encoder = tiny_vit(reg_tokens=4, no_embed_class=True, **gates)
    weights = random_state(encoder)
    summary = torch.randn(1, 1, 32)
    theirs = transformers_names(weights, dinov2=True)
    positions = torch.cat([summary, weights["pos_embed"]], dim=1)
    theirs |= {"embeddings.position_embeddings": positions, "embeddings.mask_token": torch.zeros(1, 32)}
    torch.save(theirs, tmp_path / "pytorch_model.bin")
    load_encoder_weights(encoder, tmp_path)
    assert_has(encoder, {**weights, "cls_token": weights["cls_token"] + summary})


def test_a_dinov2_as_its_authors_save_it(tmp_path: Path) -> None:
    gates = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "init_values": 1e-5}
    encoder = tiny_vit(reg_tokens=4, no_embed_class=True, **gates)
    weights = random_state(encoder)
    renamed = {k.replace("reg_token", "register_tokens").replace("fc1", "w12"): v for k, v in weights.items()}
    renamed = {k.replace("fc2", "w3"): v for k, v in renamed.items()}
    torch.save({**renamed, "mask_token": torch.zeros(1, 32)}, tmp_path / "dinov2.pth")
    load_encoder_weights(encoder, tmp_path / "dinov2.pth")
    assert_has(encoder, weights)


def test_the_layer_after_the_gate_computes_what_transformers_does() -> None:
    encoder = tiny_vit(mlp_layer="SwiGLUPacked", act_layer="SiLU", mlp_ratio=2.5)
    mlp, x = encoder.body.blocks[0].mlp, torch.randn(3, 32)
    gate, value = torch.nn.functional.linear(x, mlp.fc1.weight, mlp.fc1.bias).chunk(2, dim=-1)
    plain = torch.nn.functional.linear(torch.nn.functional.silu(gate) * value, mlp.fc2.weight, mlp.fc2.bias)
    assert torch.allclose(mlp(x), plain, atol=1e-6)


def test_positions_are_resampled_to_the_models_grid(tmp_path: Path) -> None:
    small, large = tiny_vit(64), tiny_vit(128)
    weights = random_state(small)
    rising = torch.linspace(0, 1, 4).view(1, 4, 1, 1).expand(1, 4, 4, 32).flatten(1, 2)
    weights["pos_embed"] = torch.cat([weights["pos_embed"][:, :1], rising], dim=1)
    save_file(weights, tmp_path / "small.safetensors")
    load_encoder_weights(large, tmp_path / "small.safetensors")
    found = large.body.pos_embed
    assert torch.equal(found[:, :1], weights["pos_embed"][:, :1])
    grid = found[0, 1:].unflatten(0, (8, 8)).mean(-1)
    assert torch.all(grid[1:] > grid[:-1])  # still rising downwards, and level across
    assert torch.allclose(grid, grid[:, :1].expand(8, 8), atol=1e-6)


def test_shards_listed_by_an_index(tmp_path: Path) -> None:
    encoder = tiny_vit()
    weights = random_state(encoder)
    shard = {k: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, k in enumerate(weights)}
    for name in set(shard.values()):
        save_file({k: v for k, v in weights.items() if shard[k] == name}, tmp_path / name)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard}))
    load_encoder_weights(encoder, tmp_path)
    assert_has(encoder, weights)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"00002-of-00002\.safetensors', which 'model\.safetensors\.index\.json' lists"
    ):
        load_encoder_weights(encoder, tmp_path)


def test_sams_own_file_with_its_decoder(tmp_path: Path) -> None:
    with torch.device("meta"):
        encoder = SamEncoder()
    shapes = encoder.body.state_dict()
    theirs = {f"image_encoder.{k.replace('mlp.fc', 'mlp.lin')}": v for k, v in shapes.items()}
    found = encoder_weights(encoder, {**theirs, "mask_decoder.iou_token.weight": torch.zeros(1)}, where="sam.pth")
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in shapes.items()}


@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224", "sam2_hiera_tiny", "mobilevit_xxs"])
def test_a_pyramid_takes_the_whole_networks_names(name: str) -> None:
    """timm renames stages in a network that gives its features; published files have the plain names."""
    with torch.device("meta"):
        whole = import_timm().create_model(name).state_dict()
        encoder = TimmPyramid(name, depths=(0, 1, 2))
    found = encoder_weights(encoder, whole, where=name)
    assert found.keys() == encoder.body.state_dict().keys()
    stem = next(k for k in whole if k.endswith("weight"))
    deeper = {k: v for k, v in whole.items() if k != stem}
    with pytest.raises(ModelError, match=f"{name}.*missing"):
        encoder_weights(encoder, {**deeper, f"{stem}.other": torch.zeros(1)}, where=name)


def test_registers_that_the_model_lacks_are_left_over(tmp_path: Path) -> None:
    encoder = tiny_vit()
    save_file({**random_state(encoder), "reg_token": torch.zeros(1, 4, 32)}, tmp_path / "more.safetensors")
    with pytest.raises(ModelError, match="left over: reg_token"):
        load_encoder_weights(encoder, tmp_path / "more.safetensors")
