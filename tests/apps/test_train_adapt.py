"""`histocyte train` with a part of the encoder: what it refuses, and that its model files serve."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from histocyte.apps.cli.models.export import export
from histocyte.apps.cli.train.train import train
from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.encoders.networks.timm import TimmViT
from histocyte.files.lock import FolderLock
from histocyte.inference.load import load
from histocyte.model.checkpoint import load_model, read_spec, save_model
from histocyte.model.delta import FOLDER_VARIABLE
from histocyte.model.onnx import export as onnx_export
from histocyte.model.spec import ModelSpec
from histocyte.runs.train import run as training_run
from histocyte.runs.train.defaults import first_spec, origin, start
from histocyte.runs.train.options import Adaptation
from histocyte.runs.train.start import Start
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    for number in range(2):
        labels = packed_ellipses((96, 96), 12, seed=number)
        cv2.imwrite(str(folder / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(folder / f"i{number}.npz", inst=labels.instances)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(TimmViT("vit_tiny_patch16_224").body.state_dict(), path)
    return path


def run(data: Path, out: Path, weights: Path | None, **options: object) -> Path:
    train(
        [data],
        out,
        encoder_weights=str(weights) if weights else None,
        **{
            **{"recipe": "cellvit", "encoder": "vit_tiny_patch16_224"},
            **{"adapt": "full", "lora_rank": 2, "lora_mlp": False, "cache": None, "cache_passes": 1, "delta": None},
            **{"steps": 1, "batch": 1, "seed": 0, "validation": 0.5, "validate_every": 1, "device": "cpu"},
            **{"threads": 1, "mpp": 0.25, "name": "mine", "start_from": None},
            **{"learning_rate": 1e-3, "loss_weight": None},
            **options,
        },  # type: ignore[arg-type]
    )
    return out / "model.safetensors"


def test_a_frozen_encoder_is_cached_left_out_and_found_again(
    data: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    path = run(data, tmp_path / "run", weights, adapt="frozen", cache=tmp_path / "features")
    said = " ".join(capfd.readouterr().err.split())
    assert "Features of 1 crop take" in said
    assert "It does not hold the encoder's published weights: keep vit.safetensors beside it" in said
    assert list((tmp_path / "features").glob("*.safetensors"))
    with safe_open(path, framework="pt") as file:
        assert not any(k.startswith("encoder.") for k in file.keys())  # noqa: SIM118 (not a dict)
    spec = read_spec(path)
    assert spec.training["adapt"] == "frozen"
    assert spec.encoder_weights is not None
    with pytest.raises(InputError, match=r"vit\.safetensors"):
        load(path, runtime="torch", device="cpu")
    shutil.copy(weights, path.parent)
    model = load(path, runtime="torch", device="cpu")
    assert model.runtime.predict(np.zeros((1, 64, 64, 3), np.uint8)).shape[0] == 1


def test_two_trainings_do_not_fill_one_cache_at_a_time(data: Path, weights: Path, tmp_path: Path) -> None:
    with FolderLock(tmp_path / "features"), pytest.raises(InputError, match="features is being worked on by process"):
        run(data, tmp_path / "run", weights, adapt="frozen", cache=tmp_path / "features")
    assert not list((tmp_path / "features").glob("*.safetensors"))


def test_a_second_training_in_a_folder_is_refused(data: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FolderLock(out):
        with pytest.raises(InputError, match=rf"{out} is being worked on by process {os.getpid()} on .*output folder"):
            run(data, out, weights)
        assert [p.name for p in out.iterdir()] == ["lock"]
    (out / "lock").write_text("process 1 on elsewhere")  # of a process that was killed: nothing locks the file
    assert run(data, out, weights).exists()
    assert not (out / "lock").exists()


def test_sigterm_ends_a_training_between_steps_and_the_same_call_goes_on(
    data: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = training_run.TrainingRun._validate

    def told_to_end(self: training_run.TrainingRun, network: nn.Module) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return validate(self, network)

    monkeypatch.setattr(training_run.TrainingRun, "_validate", told_to_end)
    with pytest.raises(typer.Exit) as ended:
        run(data, tmp_path, weights, steps=2)
    assert ended.value.exit_code == 143
    assert "The state of step 1 of 2 is in" in capfd.readouterr().err
    files = "best.safetensors curves.html curves.png data.json data_check.json data_check.png environment.json"
    files += " last.safetensors log.csv options.json"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *files.split(),
        "progress.json",
        "recipe.json",
        "validation.csv",
    ]
    monkeypatch.setattr(training_run.TrainingRun, "_validate", validate)
    assert run(data, tmp_path, weights, steps=2).exists()
    assert [row.split(",")[0] for row in (tmp_path / "log.csv").read_text().splitlines()] == ["step", "1", "2"]


def test_a_recipe_may_say_how_much_of_its_encoder_is_trained(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    class Run:
        def __init__(self, *_: object, ways: Adaptation, **__: object) -> None:
            asked.append(ways.how)

        def load_data(self, *_: object, **__: object) -> None: ...

        fit = load_data

    monkeypatch.setattr(training_run, "TrainingRun", Run)
    for recipe, adapt in (("frozen_encoder", None), ("frozen_encoder", "full"), ("cellvit", None), ("cellvit", "lora")):
        run(data, tmp_path, None, recipe=recipe, adapt=adapt)
    assert asked == ["frozen", "full", "full", "lora"]
    with pytest.raises(UnknownNameError, match="No recipe called 'nosuch'"):
        run(data, tmp_path, None, recipe="nosuch", adapt=None)


def test_a_plan_decides_what_is_not_given(data: Path, weights: Path, tmp_path: Path) -> None:
    (data / "images.csv").write_text("name,tissue\ni0,Breast\ni1,Breast\n")
    try:
        path = run(
            *(data, tmp_path, weights),
            **{"plan": "published", "batch": 2, "learning_rate": None, "validate_every": None, "steps": 1},
            loss_weight=["hover_msge_ij=0.5"],
        )
    finally:
        (data / "images.csv").unlink()
    training = json.loads((tmp_path / "recipe.json").read_text())["training"]
    assert (training["optimiser"], training["learning_rate"], training["betas"]) == ("adamw", 3e-4, [0.85, 0.95])
    assert training["loss_weights"]["hover_msge"] == 8
    assert training["loss_weights"]["hover_msge_ij"] == 0.5
    assert "tissue_ce" in (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    spec = read_spec(path)
    assert spec.training["plan"] == "published"
    assert len(spec.tissues) == 19


def test_adapters_are_merged_into_a_whole_model(data: Path, weights: Path, tmp_path: Path) -> None:
    path = run(data, tmp_path, weights, adapt="lora", lora_mlp=True, delta=False)
    spec, model = load_model(path)
    assert spec.encoder_weights is not None
    assert spec.encoder_weights.included
    assert not any("lora" in k for k in model.state_dict())
    with safe_open(tmp_path / "best.safetensors", framework="pt") as file:
        assert sum("lora_a" in k for k in file.keys()) == 48  # noqa: SIM118 (not a dict)


@pytest.mark.parametrize(
    ("ways", "says"),
    [
        (Adaptation("frozen"), "without --encoder-weights that is at random"),
        (Adaptation("some"), "There is: full, frozen, lora, and last-N"),
        (Adaptation(cache=Path("features")), "--cache keeps a frozen encoder's features"),
        (Adaptation(delta=True), "--adapt full trains everything"),
    ],
)
def test_ways_that_do_not_go_together_are_refused(ways: Adaptation, says: str) -> None:
    with pytest.raises(InputError, match=says):
        ways.check(Start(first_spec("cellvit"), "w.safetensors" if ways.how == "full" else None))


def test_a_recipe_with_an_encoder_of_its_own_takes_no_other() -> None:
    with pytest.raises(InputError, match="'hovernet' has an encoder of its own"):
        first_spec("hovernet", "resnet18")
    assert first_spec("hover_unet", "resnet34").encoder.options["name"] == "resnet34"


def test_an_export_says_that_it_holds_what_the_model_file_left_out(
    data: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = first_spec("cellvit", "vit_tiny_patch16_224")
    model = start(spec, weights, seed=0)
    lacking = spec.with_changes(encoder_weights=origin(model, weights, included=False))
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.")}
    save_model(tmp_path / "model.safetensors", lacking, rest)
    shutil.copy(weights, tmp_path)
    given: list[ModelSpec] = []

    def write(spec: ModelSpec, network: nn.Module, path: Path, *, full_precision: bool) -> None:
        assert not full_precision
        given.append(spec)
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in network.state_dict().items())
        path.write_bytes(b"onnx")

    monkeypatch.setattr(onnx_export, "export_onnx", write)
    export(str(tmp_path / "model.safetensors"), None)
    assert "now holds its encoder's published weights (vit.safetensors)" in " ".join(capfd.readouterr().err.split())
    assert given[0].encoder_weights is not None
    assert given[0].encoder_weights.included
