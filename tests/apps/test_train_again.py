"""`histocyte train --recipe recipe.json`: read back it is the same, trains the same, and is never trusted."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from histocyte.apps.cli import main
from histocyte.apps.cli.train.train import train
from histocyte.core.errors import HistocyteError, InputError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.sample import Sample
from histocyte.encoders.networks.timm import TimmPyramid
from histocyte.model.checkpoint import read_spec, save_model
from histocyte.recipes import plans
from histocyte.recipes.plans import OURS, PLANS, find_plan
from histocyte.recipes.registry import RECIPES
from histocyte.runs.train.defaults import OUR_CROPS, crop_sampler, first_spec, start, with_class_weights
from histocyte.runs.train.options import Adaptation, training_options
from histocyte.runs.train.resolved import ResolvedRecipe
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.journal import write_json

torch.set_num_threads(1)
SMALL = "lcnet_035"
# An example of another package's recipes may be installed too.
EVERY = [(recipe, name) for recipe in RECIPES for name in (OURS, *PLANS.get(recipe, {}))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    for number in range(3):
        labels = packed_ellipses((96, 96), 12, seed=number)
        cv2.imwrite(str(folder / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(folder / f"i{number}.npz", inst=labels.instances, type=labels.types)
    (folder / "classes.json").write_text(json.dumps(dict(enumerate(CONSEP.names, 1))))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(TimmPyramid(SMALL).body.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def first(data: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, with much that is not the default."""
    out = tmp_path_factory.mktemp("runs") / "first"
    train(
        *([data], out, "hover_unet"),
        **{"encoder": SMALL, "encoder_weights": str(weights), "adapt": "last-1", "seed": 3, "validation": 0.4},
        **{"loss_weight": ["hover_mse=1"], "name": "first", **SHORT},
    )
    return out


SHORT: dict[str, Any] = {"steps": 2, "batch": 1, "validate_every": 1, "learning_rate": 0.01}
SHORT |= {"device": "cpu", "threads": 1, "mpp": 0.25}


def again(data: Path, out: Path, recipe: Path, **options: Any) -> Path:
    train([data], out, str(recipe), device="cpu", threads=1, mpp=0.25, **options)
    return out


def changed(recipe: Path, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    facts = json.loads(recipe.read_text())
    change(facts)
    path.write_text(json.dumps(facts))
    return path


def same(one: Path, other: Path) -> bool:
    a, b = load_file(one / "last.safetensors"), load_file(other / "last.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(("recipe", "name"), EVERY)
def test_what_is_read_is_what_was_written(recipe: str, name: str, tmp_path: Path) -> None:
    labels = packed_ellipses((96, 96), 12, seed=0)
    types = np.minimum(labels.types, len(CONSEP)).astype(np.uint8)
    sample = Sample("a", paint_truth(labels, CONSEP), labels.instances, types, 0.25, "own", "a")
    spec, plan = first_spec(recipe), find_plan(recipe, name)
    if plan is not None:
        spec = with_class_weights(spec, plan, [sample])
    crops = OUR_CROPS if plan is None else plan.crops
    sampler = crop_sampler(spec, [sample], seed=3, crops=crops)
    options = training_options(spec, plan, sampler, Adaptation("last-2"), batch=3)
    written = ResolvedRecipe(model=spec, training=options, crops=crops, plan=name, fold=(2, 3), left_out=("b",))
    write_json(tmp_path / "recipe.json", written.to_json())
    read = ResolvedRecipe.read(tmp_path / "recipe.json")
    assert read == written
    assert json.dumps(read.to_json()) == json.dumps(written.to_json())
    assert crop_sampler(read.model, [sample], seed=3, crops=read.crops).zoom == sampler.zoom


def test_a_run_is_trained_again_from_its_recipe(data: Path, weights: Path, first: Path, tmp_path: Path) -> None:
    out = again(data, tmp_path / "again", first / "recipe.json", encoder_weights=str(weights))
    assert (out / "recipe.json").read_text() == (first / "recipe.json").read_text()
    assert same(first, out)
    one, two = (read_spec(run / "model.safetensors") for run in (first, out))
    assert all(one.training[key] == two.training[key] for key in ("adapt", "seed", "steps"))
    assert one.history == two.history
    keys = load_file(out / "model.safetensors").keys()
    assert keys == load_file(first / "model.safetensors").keys()  # without the published weights, as before
    other = again(data, tmp_path / "other", first / "recipe.json", encoder_weights=str(weights), name="other")
    assert same(first, other)
    assert read_spec(other / "model.safetensors").name == "other"


def test_a_plan_is_followed_as_it_was(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = {**SHORT, "learning_rate": None, "validate_every": None}
    train([data], tmp_path / "first", "cellpose", encoder=SMALL, plan="published", **common)
    facts = json.loads((tmp_path / "first" / "recipe.json").read_text())
    assert (facts["plan"], facts["crops"]["augmentation"]) == ("published", "flips")
    new = dataclasses.replace(PLANS["cellpose"]["published"], augmentation="cisca", learning_rate=1.0, crop_px=64)
    monkeypatch.setattr(plans, "PLANS", {"cellpose": {"published": new}})
    out = again(data, tmp_path / "again", tmp_path / "first" / "recipe.json")
    assert same(tmp_path / "first", out)
    assert json.loads((out / "recipe.json").read_text()) == facts
    assert read_spec(out / "model.safetensors").training["plan"] == "published"


def test_a_fold_is_held_out_again(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "first"
    train([data], out, "hover_unet", encoder=SMALL, fold="2/3", **SHORT)
    assert json.loads((out / "recipe.json").read_text())["fold"] == [2, 3]
    once_more = again(data, tmp_path / "again", out / "recipe.json")
    assert (out / "data.json").read_text() == (once_more / "data.json").read_text()
    assert same(out, once_more)
    odd = changed(out / "recipe.json", tmp_path / "odd.json", lambda f: f["model"].update(multiple=8, tile_px=760))
    with pytest.raises(InputError, match="works in steps of 16 px and the recipe 'hover_unet' in steps of 8"):
        again(data, tmp_path / "odd", odd)


def test_what_was_left_out_is_left_out_again(data: Path, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text(f"{sorted(p.stem for p in data.glob('*.npz'))[0]}\n")
    out = tmp_path / "first"
    train([data], out, "hover_unet", encoder=SMALL, leave_out=tmp_path / "test.txt", **SHORT)
    once_more = again(data, tmp_path / "again", out / "recipe.json")
    assert len(json.loads((once_more / "data.json").read_text())["left_out"][data.name]) == 1
    assert (out / "data.json").read_text() == (once_more / "data.json").read_text()
    newer = ("left_out", "fold", "options", "plan_options")
    before = changed(out / "recipe.json", tmp_path / "before.json", lambda f: [f.pop(key) for key in newer])
    assert ResolvedRecipe.read(before).left_out == ()


def test_cached_features_need_their_folder(data: Path, weights: Path, first: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"encoder": SMALL, "encoder_weights": str(weights), "adapt": "frozen", **SHORT}
    train([data], tmp_path / "first", "hover_unet", cache=tmp_path / "features", cache_passes=9, **common)
    recipe = tmp_path / "first" / "recipe.json"
    with pytest.raises(InputError, match="Name a folder for them: --cache"):
        again(data, tmp_path / "again", recipe, encoder_weights=str(weights))
    out = again(data, tmp_path / "again", recipe, encoder_weights=str(weights), cache=tmp_path / "others")
    assert same(tmp_path / "first", out)
    with pytest.raises(InputError, match="keeps no features. Leave out --cache"):
        again(data, tmp_path / "again", first / "recipe.json", encoder_weights=str(weights), cache=tmp_path / "x")


def test_a_run_that_went_on_from_a_model_needs_the_same_model(data: Path, tmp_path: Path) -> None:
    model, other = tmp_path / "before.safetensors", tmp_path / "other.safetensors"
    for path, seed in ((model, 5), (other, 6)):
        spec = first_spec("hover_unet", SMALL).with_changes(name="before", training={"held_out": {data.name: ["i1"]}})
        save_model(path, spec, start(spec, None, seed=seed).state_dict())
    train([data], tmp_path / "first", start_from=str(model), **SHORT)
    recipe = tmp_path / "first" / "recipe.json"
    out = again(data, tmp_path / "again", recipe, start_from=str(model))
    assert same(tmp_path / "first", out)
    assert recipe.read_text() == (out / "recipe.json").read_text()
    one, two = (read_spec(run / "model.safetensors").training for run in (tmp_path / "first", out))
    assert one["started_from"] == two["started_from"]
    assert one["started_from"]["name"] == "before"
    with pytest.raises(InputError, match="goes on from a model 'before' .*Pass its file: --start-from"):
        again(data, tmp_path / "no", recipe)
    with pytest.raises(InputError, match=r"SHA-256 \w{16}…, and '.*other.safetensors' is one with SHA-256"):
        again(data, tmp_path / "no", recipe, start_from=str(other))
    depths = {"depths": [1, 1, 1, 1]}
    widths = changed(recipe, tmp_path / "w.json", lambda f: f["model"]["decoder"]["options"].update(depths))
    with pytest.raises(InputError, match="has another decoder than the model 'before'"):
        again(data, tmp_path / "no", widths, start_from=str(model))


def test_the_encoders_weights_are_the_same_or_refused(data: Path, first: Path, tmp_path: Path) -> None:
    recipe = first / "recipe.json"
    with pytest.raises(InputError, match=r"from a file 'small.safetensors' .*Pass it: --encoder-weights"):
        again(data, tmp_path / "no", recipe)
    torch.manual_seed(1)
    save_file(TimmPyramid(SMALL).body.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"began with 'small.safetensors'.*'other.safetensors' have"):
        again(data, tmp_path / "no", recipe, encoder_weights=str(tmp_path / "other.safetensors"))
    random = changed(recipe, tmp_path / "random.json", lambda f: f["model"].update(encoder_weights=None))
    with pytest.raises(InputError, match="does not begin so. Leave out --encoder-weights"):
        again(data, tmp_path / "no", random, encoder_weights="vit256")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 5}, "too. Leave it out, or change a copy"),
        ({"plan": "published", "seed": 0, "delta": False}, "--whole and --plan and --seed too. Leave them out"),
        ({"encoder": SMALL, "adapt": "full", "lora_mlp": True}, "--encoder and --adapt and --lora-mlp"),
        ({"loss_weight": ["hover_mse=1"], "validation": 0.2, "validate_every": 3}, "--loss-weight and --validation"),
        ({"fold": "1/2"}, "--fold too"),
        ({"leave_out": Path("test.txt")}, "--leave-out too"),
        ({"start_from": "hover-unet-consep"}, "does not begin so. Leave out --start-from"),
    ],
)
def test_options_that_the_recipe_has_are_refused(
    data: Path, first: Path, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        again(data, tmp_path, first / "recipe.json", **options)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda f: f["model"].update(recipe="hover_unett"),
            "No recipe called 'hover_unett'. Did you mean 'hover_unet'",
        ),
        (lambda f: f["model"]["encoder"].update(name="os.system"), "No encoder called 'os.system'"),
        (lambda f: f["model"]["decoder"]["options"].update(width=[8]), "does not take the options"),
        (lambda f: f["model"]["decoder"]["options"].update(widths=[-1] * 4), "does not take the options"),
        (lambda f: f["model"]["encoder"]["options"].update(name="hf-hub:own/er"), "No timm model called"),
        (lambda f: f["model"].update(mpp="near"), "no valid histocyte model spec: mpp"),
        (lambda f: f["training"].update(stepz=4), "No option in 'training' called 'stepz'. Did you mean 'steps'"),
        (lambda f: f["training"].update(steps="4"), "training.steps: Input should be a valid integer"),
        (lambda f: f["training"].update(steps=0), "steps is 0, and it can be 1 or more"),
        (lambda f: f["training"].update(learning_rate=3.5), "learning_rate is 3.5, and it can be from 0 to 1"),
        (lambda f: f["training"].update(learning_rate=float("inf")), "Infinity is not a finite number"),
        (lambda f: f["training"].update(optimiser="lion"), "training.optimiser: Input should be 'adamw', 'adam'"),
        (lambda f: f["training"].update(adapt="half"), "half"),
        (lambda f: f["training"].update(schedule={"name": "steps"}), "goes by epochs"),
        (lambda f: f["training"].update(schedule={"warmup": "long"}), "does not take the options"),
        (lambda f: f["training"]["loss_weights"].update(hover_mze=1.0), "No loss term called 'hover_mze'"),
        (lambda f: f["training"]["loss_weights"].update(hover_mse=-1.0), "hover_mse weighs -1"),
        (lambda f: f["training"]["loss_weights"].update(distil_hover=1.0), "was written by `histocyte distil`"),
        (lambda f: f["crops"].update(augmentation="cutmix"), "crops.augmentation: Input should be 'histocyte'"),
        (lambda f: f["crops"].update(zoom=[1.2, 0.8]), "zoom is 1.2–0.8"),
        (lambda f: f.update(crops=[]), "crops: Input should be"),
        (lambda f: f.update(validation=2), "validation is 2"),
        (lambda f: f.update(fold=[3, 2]), "fold is [3, 2]"),
        (lambda f: f.update(left_out="a"), "left_out: Input should be"),
        (lambda f: f.update(started_from={"name": "x"}), "started_from has a name and a sha256"),
        (lambda f: f.update(code="import os"), "No entry of a recipe called 'code'"),
        (lambda f: f.pop("crops"), "does not say crops; an earlier version"),
        (lambda f: f.pop("training"), "it says nothing of a training"),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_a_line(
    first: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    with pytest.raises(HistocyteError) as caught:
        ResolvedRecipe.read(changed(first / "recipe.json", tmp_path / "r.json", change))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "r.json" in str(caught.value)


def test_a_layer_without_width_is_refused_where_torch_only_warns(first: Path, tmp_path: Path) -> None:
    def no_width(facts: dict[str, Any]) -> None:
        facts["model"]["decoder"]["options"]["widths"] = [0] * 4

    path = changed(first / "recipe.json", tmp_path / "r.json", no_width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(HistocyteError, match="no training can be made.*zero-element"):
            ResolvedRecipe.read(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "There is no file or folder"),
        (b"", "not valid JSON"),
        (b"import os", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[1]", "it says nothing of a training"),
        (b'{"training": {"learning_rate": 1e999}}', "1e999 is not a finite number"),
    ],
)
def test_what_is_no_recipe_ends_with_a_line_and_exit_code_2(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    content: bytes | None,
    says: str,
) -> None:
    path = tmp_path / "recipe.json"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(
        sys, "argv", ["histocyte", "train", str(data), "--mpp", "1", "-o", str(tmp_path / "x"), "--recipe", str(path)]
    )
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 2
    said = capfd.readouterr().err.strip()
    assert says in said
    assert "\n" not in said
    assert not (tmp_path / "x").exists()


def test_a_recipe_by_a_wrong_name_is_still_told_by_the_known_ones(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="No recipe called 'hover_unett'"):
        train([data], tmp_path, "hover_unett", mpp=0.25)
