"""`histocyte study encoders` from the command line: what it refuses, writes, and leaves alone when it is run again."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from histocyte.apps.cli.study.commands import app
from histocyte.core.errors import HistocyteError, InputError, ResolutionError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.encoders.weights.availability import Availability, Step
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    for number in range(3):
        labels = packed_ellipses((64, 64), 6, seed=number)
        cv2.imwrite(str(folder / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        np.savez(folder / f"i{number}.npz", inst=labels.instances)
    return folder


def study(data: Path, out: Path, encoders: str, *more: str) -> Result:
    arguments = ["--data", str(data), "--data-mpp", "0.25", "--encoders", encoders, "-o", str(out), "--taps", "deep"]
    budget = ["--steps", "2", "--batch", "1", "--crops", "1", "--crop-px", "64", "--decoder", "small"]
    return CliRunner().invoke(
        app, ["encoders", *arguments, *budget, "--device", "cpu", "--threads", "1", "--replicates", "20", *more]
    )


def test_a_study_is_written_and_a_finished_run_is_not_done_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Availability(False, None, (Step("token", False, "log in first"),))
    monkeypatch.setattr("histocyte.runs.studies.encoders.weights.check", lambda card: gone)
    answer = study(data, tmp_path, "resnet10t=random,vit-ti-22k", "--json")
    assert answer.exit_code == 0, answer.exception
    written = json.loads(answer.stdout)
    assert written == json.loads((tmp_path / "study.json").read_text())
    assert [(row["label"], row["taps"]) for row in written["rows"]] == [("resnet10t (random)", "deep")]
    assert written["images"] == {data.name: 1}
    bpq = written["rows"][0]["scores"]["bpq"][data.name]
    assert set(bpq) == {"value", "low", "high", "n", "dropped"}
    assert "class_f1" not in written["rows"][0]["scores"]  # a folder of one's own has no classes
    (ready,) = written["ready"]
    assert ready["missing"] == "log in first"
    command = shlex.split(ready["command"])
    assert command[:3] == ["histocyte", "study", "encoders"]
    for option, value in (("--encoders", "vit-ti-22k"), ("--steps", "2"), ("--decoder", "small"), ("--taps", "deep")):
        assert command[command.index(option) + 1] == value
    files = {p.name for p in tmp_path.iterdir() if p.is_file()}
    plots = {f"{name}.{kind}" for name in ("scores", "cost") for kind in ("png", "svg")}
    assert files == {"study.json", "study.html", "table.csv", "table.md", "settings.json", *plots}

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished run was done again")

    table = (tmp_path / "table.csv").read_text()
    monkeypatch.setattr("histocyte.training.fit.fit", never)
    again = study(data, tmp_path, "resnet10t=random")
    assert again.exit_code == 0, again.exception
    assert "resnet10t" in again.stdout
    assert (tmp_path / "table.csv").read_text() == table


def test_a_study_in_which_nothing_could_be_done_says_so(data: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    answer = study(data, tmp_path, f"resnet10t={tmp_path / 'cut.safetensors'}")
    assert isinstance(answer.exception, HistocyteError)
    assert "No run of this study could be done" in str(answer.exception)
    assert "resnet10t (cut)" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("encoders", "histocyte.runs.studies.encoders.study.run_study"),
        ("tokens", "histocyte.runs.studies.tokens.study.run_token_study"),
    ],
)
def test_a_study_that_is_told_to_end_says_how_to_go_on(
    command: str,
    work: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(work, lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    if command == "encoders":
        answer = study(data, tmp_path, "resnet10t=random")
    else:
        answer = CliRunner().invoke(
            app, ["tokens", "hover-small-consep", str(data), "--mpp", "0.25", "-o", str(tmp_path)]
        )
    assert answer.exit_code == 143, answer.exception
    assert "ended by SIGTERM. Run the same command again to go on." in capfd.readouterr().err


def test_a_folder_of_unknown_resolution_is_told_the_option_of_this_command(data: Path) -> None:
    answer = CliRunner().invoke(app, ["encoders", "--data", str(data), "--encoders", "resnet10t=random"])
    assert "Pass it: --data-mpp 0.25" in str(answer.exception)


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        (["--seeds", "one"], InputError, "'one' are no seeds"),
        (["--decoder", "huge"], UnknownNameError, "No decoder called 'huge'"),
        (["--crop-px", "100"], InputError, "multiple of 32"),
        (["--taps", "deepest"], UnknownNameError, "Did you mean 'deep'"),
        (["--normalise", "other=0.5/0.5"], InputError, "names no encoder of this study"),
        (["--encoders", "nosuch"], UnknownNameError, "No encoder called 'nosuch'"),
        (["--reference", "nosuch"], HistocyteError, "No encoder here is the reference 'nosuch'"),
        (["--mpp", "nan"], ResolutionError, "for the encoders is outside"),
        (["--data-mpp", "nan"], ResolutionError, "the true one with --data-mpp"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_begun(
    data: Path, tmp_path: Path, more: list[str], error: type[Exception], says: str
) -> None:
    answer = study(data, tmp_path / "out", "resnet10t=random", *more)
    assert isinstance(answer.exception, error)
    assert says in str(answer.exception)
    assert not (tmp_path / "out").exists()
