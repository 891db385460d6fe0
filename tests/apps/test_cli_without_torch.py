"""What is said where torch is not installed: one line for whatever is asked, and which extra brings it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from histocyte.core.installation import how_to_add

SCRIPT = """
import json, os, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, NotInstalled())
os.environ["HF_HUB_OFFLINE"] = "1"
from histocyte.apps.cli.main import app
from histocyte.core.errors import HistocyteError

answers = []
for arguments in json.load(sys.stdin):
    try:
        app(arguments, prog_name="histocyte", standalone_mode=False)
        answers.append(["nothing", ""])
    except HistocyteError as error:
        answers.append([type(error).__name__, str(error)])
    except Exception as error:
        answers.append(["traceback", repr(error)])
json.dump(answers, sys.stderr)
"""
EXTRA = how_to_add("torch")
ASKED = {
    "timm's encoder": (["encoders", "show", "vit_tiny_patch16_224"], "MissingExtraError", EXTRA),
    "timm's by its tag": (["encoders", "check", "resnet34.a1_in1k"], "MissingExtraError", EXTRA),
    "timm's by prefix": (["encoders", "show", "timm:eva02_tiny_patch14_224"], "MissingExtraError", EXTRA),
    "no encoder": (["encoders", "show", "nosuch"], "UnknownNameError", EXTRA),
    "no encoder to check": (["encoders", "check", "nosuch"], "UnknownNameError", EXTRA),
    "nearly an encoder": (["encoders", "check", "vit-256"], "UnknownNameError", "Did you mean 'vit256'"),
    "empty name": (["encoders", "show", ""], "UnknownNameError", "No encoder called ''"),
    "timm's folder": (["encoders", "show", "{folder}"], "MissingExtraError", EXTRA),
    "no folder": (["encoders", "show", "/nowhere/at/all"], "InputError", "no folder '/nowhere/at/all'"),
    "no checkpoint": (["models", "convert", ""], "InputError", "no checkpoint"),
    "checkpoint": (["models", "convert", "{folder}/x.pth"], "MissingExtraError", EXTRA),
    "no model": (["models", "export", "nosuch"], "UnknownNameError", "hover-unet-consep"),
    "model": (["models", "export", "hover-unet-consep"], "MissingExtraError", EXTRA),
    "odd header": (["models", "show", "{folder}/odd.safetensors"], "ModelError", "not a safetensors file"),
    "training": (["train", "{folder}"], "MissingExtraError", EXTRA),
    "a classifier": (["train", "classifier", "nosuch", "{folder}"], "MissingExtraError", EXTRA),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("given")
    (folder / "config.json").write_text('{"architecture": "resnet18"}')
    (folder / "x.pth").write_bytes(b"\x80\x02K\x01.")
    header = b'{"__metadata__":1}'
    (folder / "odd.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    asked = [[a.format(folder=folder) for a in arguments] for arguments, _, _ in ASKED.values()]
    command = [sys.executable, "-c", SCRIPT]
    ended = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=300, cwd=folder
    )
    assert ended.returncode == 0, ended.stderr
    return dict(zip(ASKED, json.loads(ended.stderr), strict=True))


@pytest.mark.parametrize("case", ASKED)
def test_without_torch_an_answer_is_one_line(case: str, answers: dict[str, list[str]]) -> None:
    _, kind, says = ASKED[case]
    assert answers[case][0] == kind, answers[case]
    assert says in answers[case][1]
    assert "\n" not in answers[case][1]


def test_weights_that_torch_would_have_to_look_at_are_not_refused_without_it(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(bytes(16))
    asked = [["encoders", "check", "vit256", "--weights", str(tmp_path / "x.safetensors")]]
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert json.loads(ended.stderr) == [["nothing", ""]]
    assert "not looked at" in ended.stdout
