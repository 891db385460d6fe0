"""Low-rank adapters start as nothing, learn beside fixed weights, and can be written into them."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from histocyte.core.errors import InputError, ModelError
from histocyte.encoders.networks.timm import TimmPyramid, TimmViT
from histocyte.encoders.networks.timm_import import import_timm
from histocyte.model.adapters import (
    ATTENTION,
    MLP,
    LowRankLinear,
    add_adapters,
    apply_low_rank,
    merge_adapters,
    scaled_adapters,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def vit() -> TimmViT:
    torch.manual_seed(0)
    return TimmViT("vit_tiny_patch16_224", (1, 2), 64).eval()


@pytest.fixture
def adapted(vit: TimmViT) -> TimmViT:
    model = copy.deepcopy(vit)
    add_adapters(model, rank=4, alpha=6.0, seed=3)
    return model


def move(model: nn.Module) -> None:
    """As if it had learnt something."""
    generator = torch.Generator().manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, LowRankLinear):
            nn.init.normal_(layer.lora_b, std=0.1, generator=generator)


def out(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        features = model(torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64))
    return torch.cat([f.flatten() for f in features.pyramid])


def test_at_the_start_nothing_differs(vit: TimmViT, adapted: TimmViT) -> None:
    assert torch.equal(out(adapted), out(vit))
    names = [n for n, m in adapted.named_modules() if isinstance(m, LowRankLinear)]
    assert names == [f"body.blocks.{i}.attn.{part}" for i in range(12) for part in ("qkv", "proj")]
    assert vit.state_dict().keys() <= adapted.state_dict().keys()


def test_merged_adapters_compute_the_same(vit: TimmViT, adapted: TimmViT) -> None:
    move(adapted)
    before = out(adapted)
    assert (before - out(vit)).abs().max() > 0.1
    merged = merge_adapters(adapted)
    torch.testing.assert_close(out(merged), before, rtol=1e-4, atol=1e-4)
    assert merged.state_dict().keys() == vit.state_dict().keys()
    assert {type(m) for m in merged.modules()} == {type(m) for m in vit.modules()}


def test_saved_adapters_bring_published_weights_to_the_same(vit: TimmViT, adapted: TimmViT) -> None:
    move(adapted)
    changed = apply_low_rank(vit.state_dict(), scaled_adapters(adapted), where="file")
    merged = merge_adapters(adapted).state_dict()
    for name, weight in changed.items():
        torch.testing.assert_close(weight, merged[name])
    assert len(changed) == 24


def test_the_weight_that_others_read_is_the_sum() -> None:
    torch.manual_seed(0)
    layer = LowRankLinear(nn.Linear(6, 5), 2, 3.0)
    nn.init.normal_(layer.lora_b)
    x = torch.randn(4, 6)
    wanted = F.linear(x, layer.fixed + 3.0 / 2 * layer.lora_b @ layer.lora_a, layer.bias)
    torch.testing.assert_close(layer(x), wanted)
    torch.testing.assert_close(F.linear(x, layer.weight, layer.bias), wanted)
    again = copy.deepcopy(layer)
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again.double()(x.double()).float(), wanted)


def test_an_attention_that_only_reads_the_weight_is_adapted() -> None:
    layers = import_timm().models.beit
    torch.manual_seed(0)
    attention = layers.Attention(16, num_heads=2, qkv_bias=True).eval()  # never calls its qkv
    model = nn.ModuleDict({"attn": attention})
    x = torch.randn(1, 5, 16)
    before = attention(x)
    add_adapters(model, ("attn.qkv",), rank=2)
    assert torch.equal(attention(x), before)
    move(model)
    assert (attention(x) - before).abs().max() > 0.01


def test_mlps_by_option_and_anything_by_name(vit: TimmViT) -> None:
    model = copy.deepcopy(vit)
    assert len(add_adapters(model, (*ATTENTION, *MLP))) == 48
    assert add_adapters(copy.deepcopy(vit), ("body.blocks.1[01].mlp.fc2",)) == [
        "body.blocks.10.mlp.fc2",
        "body.blocks.11.mlp.fc2",
    ]


def test_what_cannot_be_adapted_is_said(vit: TimmViT) -> None:
    with pytest.raises(InputError, match="it has no linear layers"):
        add_adapters(TimmPyramid("resnet10t", (0, 1)))
    with pytest.raises(InputError, match=r"fits \*q: its linear layers are body\.blocks\.0"):
        add_adapters(copy.deepcopy(vit), ("*q",))
    with pytest.raises(InputError, match="rank of 1–192, got 500"):
        add_adapters(copy.deepcopy(vit), rank=500)


def test_broken_adapters_are_refused(vit: TimmViT, adapted: TimmViT) -> None:
    weights, adapters = vit.state_dict(), scaled_adapters(adapted)
    half = {k: v for k, v in adapters.items() if k != "body.blocks.3.attn.qkv.lora_b"}
    with pytest.raises(ModelError, match=r"half an adapter of 'body\.blocks\.3\.attn\.qkv'"):
        apply_low_rank(weights, half, where="file")
    wrong = {**adapters, "body.blocks.3.attn.qkv.lora_b": torch.zeros(5, 4)}
    with pytest.raises(ModelError, match="does not have in that shape"):
        apply_low_rank(weights, wrong, where="file")


@pytest.mark.parametrize(
    ("down", "up"), [((4,), (4,)), ((2, 8), (4, 3)), ((2, 8, 1), (4, 2)), ((0, 8), (4, 1)), ((2, 7), (4, 2))]
)
def test_adapters_of_other_shapes_are_refused(down: tuple[int, ...], up: tuple[int, ...]) -> None:
    adapters = {"layer.lora_a": torch.ones(down), "layer.lora_b": torch.ones(up)}
    with pytest.raises(ModelError, match="'m' holds an adapter of 'layer', which this model does not have"):
        apply_low_rank({"layer.weight": torch.ones(4, 8)}, adapters, where="m")
