"""What is wrong with the input is said before anything that takes seconds is loaded or done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import ResolutionError
from histocyte.model.zoo import find_model
from histocyte.runs.quantise import export as quantise

SCRIPT = """
import json, sys
from histocyte.apps.cli.main import app
from histocyte.core.errors import HistocyteError

answers = []
for arguments in json.load(sys.stdin):
    try:
        app(arguments, prog_name="histocyte", standalone_mode=False)
        answers.append("nothing")
    except HistocyteError as error:
        answers.append(str(error))
    slow = [name for name in ("torch", "timm", "openvino") if name in sys.modules]
    if slow:
        answers[-1] = f"{slow} loaded"
        break
print(json.dumps(answers))
"""
MODEL = "hover-small-consep"
ASKED = {
    "train, no folder": (["train", "nosuch"], "There is no folder 'nosuch'"),
    "train, no resolution": (["train", "mine"], "Pass it: --mpp 0.25"),
    "train, no images": (["train", "empty", "--mpp", "0.25"], "holds no labelled image"),
    "train, twice": (["train", "mine", "mine", "--mpp", "0.25"], "is given twice"),
    "train, external": (["train", "cpm15"], "is an external test set"),
    "train, fold": (["train", "mine", "--mpp", "0.25", "--fold", "7/5"], "e.g. 2/5"),
    "train, list": (["train", "mine", "--mpp", "0.25", "--leave-out", "no.txt"], "'no.txt' cannot be read"),
    "train, recipe": (
        ["train", "mine", "--mpp", "0.25", "--recipe", "no.json"],
        "There is no file or folder 'no.json'",
    ),
    "distil": (["distil", MODEL, "--data", "mine"], "Pass it: --mpp 0.25"),
    "distil, slide": (["distil", MODEL, "--data", "mine", "--mpp", "1", "--slide", "no.svs"], "folder 'no.svs'"),
    "classifier": (["train", "classifier", MODEL, "mine"], "Pass it: --mpp 0.25"),
    "encoders": (["study", "encoders", "--data", "mine", "--encoders", "resnet18"], "Pass it: --data-mpp 0.25"),
    "tokens": (["study", "tokens", MODEL, "mine", "-o", "out"], "Pass it: --mpp 0.25"),
    "evaluate": (["evaluate", MODEL, "mine"], "Pass it: --mpp 0.25"),
    "evaluate, table": (["evaluate", MODEL, "odd", "--mpp", "0.25"], "states two values of patient"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    for name in ("mine", "odd", "cpm15", "empty"):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "a.png"), np.zeros((20, 20, 3), np.uint8))
        if name != "empty":
            np.savez(folder / name / "a.npz", inst=np.zeros((20, 20), np.int32))
    (folder / "odd" / "images.csv").write_text("name,patient\na,1\na,2\n")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([arguments for arguments, _ in ASKED.values()]),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=folder,
    )
    assert ended.returncode == 0, ended.stderr
    return dict(zip(ASKED, json.loads(ended.stdout), strict=False))


@pytest.mark.torch
@pytest.mark.parametrize("case", ASKED)
def test_a_wrong_input_is_refused_before_torch_is_loaded(case: str, answers: dict[str, str]) -> None:
    assert ASKED[case][1] in answers[case]


def test_what_a_model_is_calibrated_on_is_opened_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the model was exported first")

    monkeypatch.setattr(quantise, "_graph_of", never)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((300, 300, 3), 128, np.uint8))
    with pytest.raises(ResolutionError, match="--mpp"):
        quantise.export_int8(find_model(MODEL), tmp_path / "x.onnx", [tmp_path])
    (tmp_path / "classes.json").write_text('{"mpp": 0.25}')
    with pytest.raises(AssertionError):
        quantise.export_int8(find_model(MODEL), tmp_path / "x.onnx", [tmp_path])
