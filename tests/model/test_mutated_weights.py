"""Damaged files that PyTorch reads, drawn by a seed: each is read as it is or refused in one line."""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from histocyte.conversion.convert import convert  # noqa: E402
from histocyte.conversion.file import read_foreign  # noqa: E402
from histocyte.encoders.catalog.generic import card_of_config  # noqa: E402
from histocyte.encoders.weights.files import read_tensors  # noqa: E402
from histocyte.model.checkpoint import SPEC_KEY, load_model, read_spec  # noqa: E402
from histocyte.model.zoo import find_model  # noqa: E402
from histocyte.recipes.plan import Crops  # noqa: E402
from histocyte.runs.train.resolved import ResolvedRecipe  # noqa: E402
from histocyte.testing.mutations import (  # noqa: E402
    failures,
    mutated_bytes,
    mutated_json,
    safetensors_header,
    with_safetensors_header,
)
from histocyte.training.options import TrainingOptions  # noqa: E402

TIMES = 1
Case = tuple[str, Callable[[], object]]


def tried(path: Path, content: bytes, *uses: Callable[[Path], object]) -> Iterator[tuple[str, Callable[[], object]]]:
    for use in uses:

        def attempt(use: Callable[[Path], object] = use) -> object:
            path.write_bytes(content)
            return use(path)

        yield getattr(use, "__name__", "use"), attempt


def pickled(folder: Path) -> Iterator[Case]:
    state = OrderedDict(weight=torch.ones(40), bias=torch.zeros(3))
    stored = {"arch": "x", "config": {"data.classes": 6}, "state_dict": state, "epoch": 3}
    for zipped in (True, False):
        path = folder / "m.pth"
        torch.save(stored, path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        for seed in range(40 * TIMES):
            changed = mutated_bytes(whole, random.Random(seed))
            for name, attempt in tried(path, changed, read_foreign, read_tensors, convert):
                yield f"zipped {zipped} {seed} {name}", attempt


def models(folder: Path) -> Iterator[Case]:
    files = find_model("hover-small-consep")
    assert files.safetensors is not None
    whole = files.safetensors.read_bytes()
    header = safetensors_header(whole)
    spec = json.loads(read_spec(files.safetensors).model_dump_json())
    spec = {k: v for k, v in spec.items() if k not in ("metrics", "training", "history", "data", "quantised")}
    for seed in range(15 * TIMES):
        draw = random.Random(seed)
        parts = {part: mutated_json(spec[part], draw) for part in ("encoder", "decoder", "heads")}
        metadata = {SPEC_KEY: json.dumps({**spec, **parts})}
        changes = (
            ("bytes", mutated_bytes(whole, draw)),
            ("header", with_safetensors_header(whole, mutated_json(header, draw))),
            ("parts", with_safetensors_header(whole, {**header, "__metadata__": metadata})),
        )
        for name, changed in changes:
            for _, attempt in tried(folder / "m.safetensors", changed, load_model):
                yield f"{name} {seed}", attempt


def recipes(folder: Path) -> Iterator[Case]:
    files = find_model("hover-small-consep")
    assert files.safetensors is not None
    model = read_spec(files.safetensors).with_changes(metrics={}, training={})
    recipe = ResolvedRecipe(model=model, training=TrainingOptions(steps=10), crops=Crops())
    data = json.loads(json.dumps(recipe.to_json()))
    path = folder / "recipe.json"
    for seed in range(30 * TIMES):
        draw = random.Random(seed)
        part = draw.choice(("training", "crops"))
        changed: Any = (
            mutated_json(data, draw) if draw.random() < 0.5 else {**data, part: mutated_json(data[part], draw)}
        )
        for _, attempt in tried(path, json.dumps(changed).encode(), ResolvedRecipe.read):
            yield f"recipe {seed}", attempt
        for _, attempt in tried(path, mutated_bytes(json.dumps(data).encode(), draw), ResolvedRecipe.read):
            yield f"recipe's bytes {seed}", attempt


def configs(folder: Path) -> Iterator[Case]:
    vit = {
        "model_type": "vit",
        **{"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 96},
        **{"patch_size": 16, "image_size": 64, "qkv_bias": True, "hidden_act": "gelu"},
    }
    timm = {
        "architecture": "vit_tiny_patch16_224",
        "model_args": {"img_size": 64, "depth": 2},
        "pretrained_cfg": {
            "input_size": [3, 64, 64],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "license": "mit",
        },
    }
    for seed in range(15 * TIMES):
        for name, config in (("vit", vit), ("timm", timm)):
            text = json.dumps(mutated_json(config, random.Random(seed)))
            for _, attempt in tried(folder / "config.json", text.encode(), lambda p: card_of_config(str(p.parent))):
                yield f"{name} {seed}", attempt


def indices(folder: Path) -> Iterator[Case]:
    index = {"metadata": {"total_size": 3}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    for seed in range(30 * TIMES):
        text = json.dumps(mutated_json(index, random.Random(seed)))
        for _, attempt in tried(folder / "m.safetensors.index.json", text.encode(), read_tensors):
            yield f"index {seed}", attempt


@pytest.mark.parametrize("cases", [pickled, models, recipes, configs, indices])
def test_damaged_files_end_in_one_line(tmp_path: Path, cases: Callable[[Path], Iterator[Case]]) -> None:
    assert failures(cases(tmp_path)) == []
