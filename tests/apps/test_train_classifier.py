"""`histocyte train classifier`, and what `segment` and `evaluate` do with its file."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from histocyte.apps.cli.main import app
from histocyte.core.errors import InputError
from histocyte.formats.geoparquet import read_cells
from histocyte.model.classifier import load_classifier, save_classifier
from histocyte.testing.synthetic import paint_tissue

MODEL = "hover-unet-consep"


def histocyte(*arguments: object) -> Result:
    threads = torch.get_num_threads()
    try:
        return CliRunner().invoke(app, [str(a) for a in arguments])
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    for number in range(8):
        tissue = paint_tissue((256, 256), seed=number)
        cv2.imwrite(str(folder / f"i{number}.png"), tissue.image[..., ::-1])
        # Two of the painter's classes, so that there is something to see, under names that the model does not have.
        assert tissue.labels.types is not None
        types = np.where(tissue.labels.types == 2, 1, 2)
        types[0] = 0
        np.savez(folder / f"i{number}.npz", inst=tissue.labels.instances, type=types.astype(np.uint8))
    (folder / "classes.json").write_text('{"1": "large", "2": "<small>"}')
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("out") / "size.safetensors"
    small = ("--validation", "0.5", "--epochs", "50", "--threads", "1", "--device", "cpu", "--mpp", "0.25")
    return out, histocyte("train", "classifier", MODEL, data, "-o", out, "--json", *small)


def test_a_classifier_is_trained_scored_and_written(trained: tuple[Path, Result], data: Path) -> None:
    path, answer = trained
    assert answer.exit_code == 0, answer.exception
    record = json.loads(answer.stdout)
    read = load_classifier(path)
    assert record["sha256"] == read.sha256
    assert read.taxonomy.names == ("large", "<small>")
    assert read.spec.model == MODEL
    facts = read.spec.training
    assert [entry.name for entry in read.spec.history.sets] == [data.name]
    assert len(read.spec.history.held_out[data.name]) == 4
    assert facts["seconds"] > 0
    assert record["scores"] == read.spec.scores
    ours, frequent = record["scores"]["variants"]
    assert frequent["name"] == "most frequent class"
    assert ours["macro_auroc"]["value"] > 0.6
    assert set(ours["f1"]["large"]) == {"value", "low", "high", "n", "dropped"}


def test_segment_gives_its_classes(trained: tuple[Path, Result], data: Path, tmp_path: Path) -> None:
    slide = ("segment", data / "i0.png", "--mpp", "0.25", "--device", "cpu", "--json", "--workers", "1")
    answer = histocyte(*slide, "-o", tmp_path, "--model", MODEL, "--classifier", trained[0])
    assert answer.exit_code == 0, answer.exception
    record = json.loads(answer.stdout)
    assert record["runtime"]["name"] == "torch"
    assert set(record["classes"]) <= {"large", "<small>"}
    assert record["signature"]["classifier"] == load_classifier(trained[0]).sha256
    cells = read_cells(record["outputs"]["parquet"])
    assert len(cells) == record["cells"] > 10
    assert cells.taxonomy.names == ("large", "<small>")
    assert cells.probabilities.shape[1] == 2


def test_evaluate_scores_its_classes_on_images_it_has_not_learnt_from(
    trained: tuple[Path, Result], data: Path, tmp_path: Path
) -> None:
    answer = histocyte(
        *("evaluate", MODEL, data, "--classifier", trained[0], "--mpp", "0.25", "--device", "cpu", "--json")
    )
    assert answer.exit_code == 0, answer.exception
    report = json.loads(answer.stdout)
    assert report["class_names"] == ["large", "<small>"]
    assert report["trained_on_and_left_out"] == 4
    assert report["classifier_sha256"] == load_classifier(trained[0]).sha256
    assert report["sources"][data.name]["scores"]["mpq"]["n"] == 4
    answer = histocyte(*("evaluate", MODEL, data, "--classifier", trained[0], "--mpp", "0.25", "--classes", "a,b"))
    assert isinstance(answer.exception, InputError)
    assert "has the classes a, b" in str(answer.exception)
    answer = histocyte("evaluate", MODEL, data, "--mpp", "0.25", "--classes", "a,b")
    assert answer.exit_code == 0, answer.exception
    assert "none can be compared" in " ".join(answer.stderr.split())


def test_the_file_of_another_model_is_refused(trained: tuple[Path, Result], data: Path, tmp_path: Path) -> None:
    made = load_classifier(trained[0])
    other = tmp_path / "other.safetensors"
    save_classifier(other, made.spec.model_copy(update={"model": "theirs", "model_sha256": "f" * 64}), made.head)
    for command in (
        ("segment", data / "i0.png", "--mpp", "0.25", "-o", tmp_path / "out", "--model", MODEL),
        ("evaluate", MODEL, data, "--mpp", "0.25"),
    ):
        answer = histocyte(*command, "--classifier", other, "--device", "cpu")
        assert isinstance(answer.exception, InputError)
        assert "was made for the model 'theirs' (SHA-256 ffffffffffff" in str(answer.exception)
    assert not (tmp_path / "out").exists()
    answer = histocyte(
        *("segment", data / "i0.png", "--mpp", "0.25", "-o", tmp_path / "out", "--classifier", trained[0]),
        *("--runtime", "openvino"),
    )
    assert isinstance(answer.exception, InputError)
    assert "--runtime torch" in str(answer.exception)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--classes", "one,"], "in 0–1"),
        (["--classes", "one"], "No list of classes called 'one'"),
        (["--classes", "a,a"], "a name of its own"),
        (["-o", "."], "is a folder"),
        (["--tile", "100"], "--tile 100: tiles of 'hover-unet-consep'"),
        (["--margin", "-16"], "--margin -16: margins of 'hover-unet-consep' in tiles of 768 px"),
    ],
)
def test_wrong_input_is_refused(data: Path, more: list[str], says: str) -> None:
    answer = histocyte("train", "classifier", MODEL, data, "--mpp", "0.25", *more)
    assert isinstance(answer.exception, InputError)
    assert says in str(answer.exception)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "Run the same command again; with --cache FOLDER"),
        (["--cache", "kept"], "Run the same command again to go on"),
    ],
)
def test_told_to_end_it_says_what_comes_of_that(
    more: list[str],
    says: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    end = lambda *_, **__: signal.raise_signal(signal.SIGTERM)  # noqa: E731
    monkeypatch.setattr("histocyte.runs.classifier.run.collect_cells", end)
    answer = histocyte("train", "classifier", "hover-small-consep", data, "--mpp", "0.25", "--device", "cpu", *more)
    assert answer.exit_code == 143, answer.exception
    assert f"ended by SIGTERM. {says}" in capfd.readouterr().err


def test_images_without_classes_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "i.png").write_bytes((data / "i0.png").read_bytes())
    with np.load(data / "i0.npz") as file:
        np.savez(tmp_path / "i.npz", inst=file["inst"])
    answer = histocyte("train", "classifier", MODEL, tmp_path, "--mpp", "0.25", "--classes", "a,b")
    assert isinstance(answer.exception, InputError)
    assert "array 'type'" in str(answer.exception)


def test_train_is_what_it_was_and_knows_of_the_other(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    help_of_train = histocyte("train", "--help").stdout
    help_of_classifier = histocyte("train", "classifier", "--help").stdout
    assert "--encoder-weights" in help_of_train
    assert "train classifier" in help_of_train
    assert "--hidden" in help_of_classifier
    assert "--encoder-weights" not in help_of_classifier
    assert "train classifier" in histocyte("--help").stdout
    asked: list[list[str]] = []

    class Stop(Exception):  # noqa: N818
        pass

    def load(self: object, folders: list[Path], **_: object) -> None:
        asked.append([str(f) for f in folders])
        raise Stop

    monkeypatch.setattr("histocyte.runs.train.run.TrainingRun.load_data", load)
    out = ("-o", str(tmp_path / "run"), "--mpp", "0.25")
    monkeypatch.chdir(tmp_path)
    for folder in ("classifier", "a"):
        shutil.copytree(data, tmp_path / folder)
    for words in (("./classifier", *out), ("a", "classifier", *out), (*out, "classifier")):
        assert isinstance(histocyte("train", *words).exception, Stop)
    assert asked == [["classifier"], ["a", "classifier"], ["classifier"]]
