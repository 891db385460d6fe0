"""`histocyte encoders` as a user meets it: in a process of its own, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from histocyte.encoders.networks.timm import TimmPyramid

torch.set_num_threads(1)
WITHOUT_TORCH = "import sys; sys.modules['torch'] = sys.modules['timm'] = None; "


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    return folder


def encoders(*arguments: str, cache: Path | None = None, before: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{before}from histocyte.apps.cli.main import run; run()", "encoders", *arguments]
    settings = {"HF_HUB_OFFLINE": "1", "COLUMNS": "80", **({"HF_HUB_CACHE": str(cache)} if cache else {})}
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "HF_HOME")} | settings
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_list_and_show_run_without_torch() -> None:
    answer = encoders("list", before=WITHOUT_TORCH)
    assert answer.returncode == 0, answer.stderr
    for name in ("vit256", "h-optimus-0", "dinov2-g-reg", "mobilevitv2-150"):
        assert f"│ {name} " in answer.stdout  # in full at 80 columns
    shown = encoders("show", "virchow2", before=WITHOUT_TORCH)
    assert shown.returncode == 0, shown.stderr
    assert "paige-ai/Virchow2" in shown.stdout
    assert "8, 16, 24, 32" in shown.stdout


def test_lists_can_be_narrowed_and_read_by_programs() -> None:
    every = {e["name"]: e for e in json.loads(encoders("list", "--json").stdout)["encoders"]}
    assert every["uni2-h"]["facts"]["parameters"] == 681_394_176
    assert every["uni2-h"]["facts"]["memory_mb"] > 2726
    assert every["uni2-h"]["gated"] is True
    free = json.loads(encoders("list", "--commercial", "--pathology", "--json").stdout)["encoders"]
    assert {e["name"] for e in free} == {"virchow", "h-optimus-0", "hibou-b", "hibou-l"}
    assert json.loads(encoders("show", "UNI2-h", "--json").stdout) == every["uni2-h"]


def test_check_without_a_network_says_the_way_out(cache: Path) -> None:
    answer = encoders("check", "uni", "--json", cache=cache)
    assert answer.returncode == 2
    found = json.loads(answer.stdout)
    assert not found["available"]
    assert "download it elsewhere" in found["steps"][-1]["note"]
    told = encoders("check", "vit256", cache=cache)
    assert told.returncode == 2
    assert "vit256_small_dino.pth" in told.stdout
    assert [word.strip() for word in told.stdout.splitlines()[2].strip("┃").split("┃")] == ["step", "ok", "found"]


def test_check_of_a_file(tmp_path: Path, cache: Path) -> None:
    weights = TimmPyramid("mobilenetv2_100", depths=(0, 1, 2, 3, 4)).body.state_dict()
    save_file(weights, tmp_path / "good.safetensors")
    answer = encoders("check", "mobilenetv2", "--weights", str(tmp_path / "good.safetensors"), "--json", cache=cache)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["path"] == str(tmp_path / "good.safetensors")


def test_a_repository_out_of_reach_ends_in_one_line(cache: Path) -> None:
    answer = encoders("show", "owner/name", cache=cache)
    assert answer.returncode == 2
    assert "cannot be reached" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
