"""Every recipe's published training takes a step from the command line, on a folder with classes of its own.

The folder is like PanNuke: patches of 256 px, five classes, tissues in images.csv. What is published is too large for a
test in three things, and in nothing else: a tiny encoder stands in for one of up to a thousand million weights, crops
are of 64 px and batches of two, and the patch that is held out, which only costs time here, is of 64 px.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from histocyte.apps.cli.main import app
from histocyte.core.taxonomies import CONSEP
from histocyte.encoders.networks.diffusion.encoder import DiffusionEncoder
from histocyte.encoders.networks.timm_import import import_timm
from histocyte.model.checkpoint import read_spec
from histocyte.recipes.plans import PLANS
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

CLASSES = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
TISSUES = ("Breast", "Colon", "Bile-duct", "HeadNeck", "Kidney")
VIT, PYRAMID = "vit_tiny_patch16_224", "mobilenetv2_050"
ENCODERS = {
    **dict.fromkeys(("cellvit", "cellvit_stardist", "cellvit_cppnet", "lightweight_teacher", "frozen_encoder"), VIT),
    **dict.fromkeys(("stardist", "cellpose", "lightweight_student"), PYRAMID),
    **dict.fromkeys(("tissue_fcn", "tissue_unet", "tissue_fcn8"), PYRAMID),
}
"""That stand in for the published ones; hovernet has its own, cisca a U-Net without a pre-trained one."""
SMALL_DIFFUSION: dict[str, Any] = {
    "first_stage": {"name": "tiny", "channels": 4},
    "denoiser": {"width": 32, "multiples": [1, 2], "blocks": 1, "attention": [2]},
    "condition": {},
    "taps": [1, 3],
}
"""Of `pathsegdiff`, in place of 445 million weights."""
OF_TISSUE = ("pathsegdiff", "tissue_fcn", "tissue_unet", "tissue_dpt", "tissue_fcn8")
"""Which learn from masks of tissue, and not from labels of cells."""
HELD_OUT = 2
"""Number of the patch that the seed holds out."""


@pytest.fixture(scope="module")
def pannuke_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "patches"
    folder.mkdir()
    rows = [["name", "patient", "tissue"]]
    for i in range(5):
        side = 64 if i == HELD_OUT else 256
        labels = packed_ellipses((side, side), side * side // 1600, seed=i)
        count = int(labels.instances.max())
        Image.fromarray(paint_truth(labels, CONSEP)).save(folder / f"p{i}.png")
        types = np.concatenate([[0], 1 + (np.arange(count) + i) % len(CLASSES)]).astype(np.uint8)
        np.savez_compressed(folder / f"p{i}.npz", inst=labels.instances, type=types)
        rows.append([f"p{i}.png", f"patient{i}", TISSUES[i % len(TISSUES)]])
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "classes.json").write_text(json.dumps({str(i): name for i, name in enumerate(CLASSES, 1)}))
    return folder


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with a class of tissue in each pixel."""
    folder = tmp_path_factory.mktemp("data") / "tissue"
    folder.mkdir()
    rows = [["name", "patient"]]
    for i in range(5):
        draw = np.random.default_rng(i)  # unlike each other: copies of held-out images are not learnt from
        codes = np.kron(draw.integers(0, len(CLASSES) + 1, (8, 8)), np.ones((16, 16))).astype(np.uint8)
        pixels = np.kron(draw.integers(0, 255, (32, 32, 3)), np.ones((4, 4, 1)))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"p{i}.png")
        Image.fromarray(codes).save(folder / f"p{i}_mask.png")
        rows.append([f"p{i}", f"patient{i}"])
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "classes.json").write_text(json.dumps({str(i): name for i, name in enumerate(CLASSES, 1)}))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of starting weights by encoder: what a plan leaves as it is cannot begin at random."""
    folder = tmp_path_factory.mktemp("weights")
    files = {}
    for name in (VIT, PYRAMID):
        torch.manual_seed(0)
        files[name] = folder / f"{name}.safetensors"
        save_file(dict(import_timm().create_model(name).state_dict()), files[name])
    files["diffusion"] = folder / "diffusion.safetensors"
    chosen = SMALL_DIFFUSION | {"condition": None}
    save_file(DiffusionEncoder(**chosen).state_dict(), files["diffusion"])
    return files


@pytest.mark.parametrize("recipe", list(PLANS))
def test_a_published_plan_takes_a_step_on_own_classes(
    recipe: str, pannuke_like: Path, masks: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [
        "train",
        str(masks if recipe in OF_TISSUE else pannuke_like),
        "--mpp",
        "0.25",
        "-o",
        str(out),
        "--recipe",
        recipe,
    ]
    command += [
        "--plan",
        "published",
        "--steps",
        "1",
        "--batch",
        "2",
        "--crop-px",
        "64",
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    if recipe in ENCODERS:
        command += ["--encoder", ENCODERS[recipe]]
        command += ["--encoder-weights", str(weights[ENCODERS[recipe]])]
    if recipe == "pathsegdiff":
        command += [f"--option={name}={json.dumps(value)}" for name, value in SMALL_DIFFUSION.items()]
        command += ["--encoder-weights", str(weights["diffusion"])]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 0, answer.output
    plan = PLANS[recipe]["published"]
    (step,) = csv.DictReader((out / "log.csv").read_text().splitlines())
    expected = plan.losses
    found = {term: float(step[term]) for term in expected}
    silent = [term for term, value in found.items() if not value > 0]
    assert silent == (["nucleus_bce"] if recipe.startswith("lightweight") else [])
    written = json.loads((out / "recipe.json").read_text())
    spec, training = written["model"], written["training"]
    assert [c["name"] for c in spec["taxonomy"]["classes"]] == list(CLASSES)
    assert len(spec["tissues"]) == (19 if "tissue_ce" in expected else 0)
    assert (training["adapt"], training["optimiser"], training["schedule"]) == (
        plan.adapt,
        plan.optimiser,
        plan.schedule,
    )
    assert (written["crops"]["sampling"], written["crops"]["augmentation"]) == (plan.sampling, plan.augmentation)
    (held_out,) = json.loads((out / "data.json").read_text())["held_out"].values()
    assert list(held_out) == [f"p{HELD_OUT}"]


def test_options_of_recipe_and_plan_are_kept_and_make_another_run(pannuke_like: Path, tmp_path: Path) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    usual = ["train", str(pannuke_like), "--mpp", "0.25", "--steps", "1", "--batch", "2", "--crop-px", "64"]
    usual += ["--threads", "1", "--device", "cpu", "--recipe", "hover_small", "--encoder", PYRAMID]
    chosen = ["--option", "levels=4", "--plan-option", "augmentation=none", "--plan-option", "sampling=cellvit-pannuke"]
    answer = CliRunner().invoke(app, [*usual, *chosen, "-o", str(run)])
    assert answer.exit_code == 0, answer.output
    written = json.loads((run / "recipe.json").read_text())
    assert written["options"] == {"levels": 4}
    assert written["plan_options"] == {"augmentation": "none", "sampling": "cellvit-pannuke"}
    assert (written["crops"]["augmentation"], written["crops"]["sampling"]) == ("none", "cellvit-pannuke")
    assert len(written["model"]["encoder"]["options"]["depths"]) == 4
    assert read_spec(run / "model.safetensors").training["plan_options"]["augmentation"] == "none"
    other = CliRunner().invoke(app, [*usual, "-o", str(run), *chosen[:2]])
    assert "another network or on other crops (augmentation none" in str(other.exception)
    assert "sampling_gamma, zoom" in str(CliRunner().invoke(app, [*usual, "--plan-option", "epochs=3"]).exception)
    twice = CliRunner().invoke(app, [*usual, "--option", "encoder=lcnet_035"])
    assert "encoder is given twice" in str(twice.exception)
    refused = CliRunner().invoke(app, [*usual[:4], "--recipe", str(run / "recipe.json"), "--option", "a=3"])
    assert "says everything of the training, --option too" in str(refused.exception)
    machine = ["--threads", "1", "--device", "cpu"]
    repeated = CliRunner().invoke(app, [*usual[:4], *machine, "--recipe", str(run / "recipe.json"), "-o", str(again)])
    assert repeated.exit_code == 0, repeated.output
    assert json.loads((again / "recipe.json").read_text())["plan_options"] == written["plan_options"]
    loss = [(folder / "log.csv").read_text().splitlines()[1].split(",")[:3] for folder in (run, again)]
    assert loss[0] == loss[1]
