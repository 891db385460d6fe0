from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from histocyte.core.errors import InputError
from histocyte.encoders.catalog.find import CARDS, find_card

torch.set_num_threads(1)


def folder(tmp_path: Path, config: object, **others: object) -> str:
    for name, content in {"config": config, **others}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return str(tmp_path)


def test_timms_config(tmp_path: Path) -> None:
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "model_args": {"img_size": 112, "depth": 4, "reg_tokens": 2, "num_classes": 0, "dynamic_img_size": True},
        "pretrained_cfg": {
            "input_size": [3, 112, 112],
            "mean": [0.7, 0.5, 0.7],
            "std": [0.2, 0.2, 0.1],
            "license": "mit",
        },
    }
    card = find_card(folder(tmp_path, config))
    assert card.options["image_size"] == card.native_px == 112
    assert card.options["arch_options"] == {"depth": 4, "reg_tokens": 2}
    assert (card.mean, card.std, card.commercial) == ((0.7, 0.5, 0.7), (0.2, 0.2, 0.1), "yes")
    assert (card.facts.depth, card.facts.prefix_tokens) == (4, 3)
    assert card.page == str(tmp_path)


def test_a_layer_that_a_config_names_is_not_imported(tmp_path: Path) -> None:
    config = {"architecture": "vit_tiny_patch16_224", "model_args": {"mlp_layer": "os.system"}}
    with pytest.raises(InputError, match=rf"config.json of '{tmp_path}' .*No mlp_layer called 'os.system'"):
        find_card(folder(tmp_path, config))


VIT = {"hidden_act": "gelu", "num_channels": 3, "qkv_bias": True, "image_size": 224}
THEIRS = {
    # The sizes in the repositories' config.json.
    "phikon": {
        "model_type": "vit",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "patch_size": 16,
    },
    "phikon-v2": {
        "model_type": "dinov2",
        "hidden_size": 1024,
        "mlp_ratio": 4,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 16,
    },
    "hibou-b": {
        "model_type": "dinov2",
        "hidden_size": 768,
        "mlp_ratio": 4,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "num_register_tokens": 4,
        "patch_size": 14,
        "use_swiglu_ffn": True,
    },
}


@pytest.mark.parametrize("name", THEIRS)
def test_transformers_configs_give_the_networks_of_the_catalog(tmp_path: Path, name: str) -> None:
    images = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    card = find_card(folder(tmp_path, {**VIT, **THEIRS[name]}, preprocessor_config=images))
    ours = CARDS[name]
    assert card.facts.parameters == ours.facts.parameters
    assert card.facts.prefix_tokens == ours.facts.prefix_tokens
    assert card.facts.strides == ours.facts.strides
    assert card.mean == (0.1, 0.2, 0.3)


def test_what_is_not_understood_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another kind .clip.*never run"):
        find_card(folder(tmp_path, {"model_type": "clip", "auto_map": {"AutoModel": "theirs.Model"}}))
    with pytest.raises(InputError, match="activation 'relu'"):
        find_card(folder(tmp_path, {**VIT, **THEIRS["phikon"], "hidden_act": "relu"}))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match="not a JSON object"):
        find_card(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"has no config\.json"):
        find_card(str(tmp_path))


def test_too_few_blocks_are_told_with_the_folder(tmp_path: Path) -> None:
    config = {**VIT, **THEIRS["phikon"], "num_hidden_layers": 2}
    with pytest.raises(InputError, match=rf"config.json of '{tmp_path}' describes no encoder .*has blocks 1–2"):
        find_card(folder(tmp_path, config))
