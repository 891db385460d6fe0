"""The command line as a user meets it: in a process of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.apps.cli import demo as demo_command
from histocyte.core.errors import InputError
from histocyte.testing.pyramid import write_pyramid
from histocyte.testing.synthetic import paint_tissue


def histocyte(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from histocyte.apps.cli.main import run; run()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    return paint_tissue((700, 600), seed=3).image


@pytest.fixture(scope="module")
def image_file(tissue: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "tissue.png"
    cv2.imwrite(str(path), tissue[..., ::-1])
    return path


WRONG = {
    "no such file": (["segment", "nothing.svs"], "nothing.svs"),
    "no such model": (
        ["segment", "{image}", "--mpp", "0.25", "--model", "hover-unet"],
        "Did you mean 'hover-unet-consep'",
    ),
    "pickle as a model": (["segment", "{image}", "--mpp", "0.25", "--model", "{image}"], ".safetensors"),
    "no resolution": (["segment", "{image}"], "--mpp"),
    "absurd resolution": (["segment", "{image}", "--mpp", "28"], "outside 0.05–10"),
    "too coarse": (["segment", "{image}", "--mpp", "4"], "too few pixels"),
    "no such format": (["segment", "{image}", "--mpp", "0.25", "--format", "csv"], "parquet, geojson"),
    "no such runtime": (["segment", "{image}", "--mpp", "0.25", "--runtime", "tensorrt"], "openvino"),
    "no such region": (["segment", "{image}", "--mpp", "0.25", "--roi", "roi.geojson"], "roi.geojson"),
    "no such command": (["sgement"], "segment"),
    "no number": (["segment", "{image}", "--mpp", "fine"], "--mpp"),
    "no such data": (["evaluate", "hover-unet-consep", "nowhere"], "nowhere"),
    "external data": (["train", "cpm15"], "never trained"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_ends_in_one_line_and_exit_2(case: str, image_file: Path, tmp_path: Path) -> None:
    arguments, says = WRONG[case]
    (tmp_path / "cpm15").mkdir()
    answer = histocyte(*(a.format(image=image_file) for a in arguments), cwd=tmp_path)
    assert answer.returncode == 2, answer.stderr
    assert says in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert answer.stdout == ""
    assert not (tmp_path / "out").exists()


def test_segment_prints_one_object_and_writes_the_folder(image_file: Path, tmp_path: Path) -> None:
    answer = histocyte("segment", str(image_file), "--mpp", "0.25", "-o", str(tmp_path), "--json")
    assert answer.returncode == 0, answer.stderr
    record = json.loads(answer.stdout)
    wanted = {"slide", "mpp", "tissue_mm2", "cells", "classes", "seconds", "peak_memory_mb", "outputs"}
    assert wanted <= record.keys()
    assert record["cells"] > 20
    assert all(Path(p).exists() for p in record["outputs"].values())


def test_several_slides_with_one_broken(image_file: Path, tissue: np.ndarray, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    write_pyramid(slides / "good.tiff", tissue, 0.25)
    (slides / "broken.svs").write_bytes(b"II*\0" + bytes(100))
    answer = histocyte("segment", str(slides), "-o", str(tmp_path / "out"), "--json")
    assert answer.returncode == 2
    record = json.loads(answer.stdout)
    assert [r["name"] for r in record["slides"]] == ["good"]
    assert [Path(f["slide"]).name for f in record["failed"]] == ["broken.svs"]
    assert "broken.svs" in record["failed"][0]["error"]


def test_models_are_listed_with_classes_and_licence() -> None:
    listed = json.loads(histocyte("models", "list", "--json").stdout)["models"]
    default = next(m for m in listed if m["default"])
    assert default["classes"] == ["other", "inflammatory", "epithelial", "spindle"]
    assert default["licence"] != "not stated"
    assert default["bytes"][".onnx"] <= 8e6
    assert default["bytes"][".safetensors"] <= 16e6
    shown = histocyte("models", "show", default["name"])
    assert "held out" in shown.stdout.lower()


def test_doctor_finds_everything_in_place() -> None:
    answer = histocyte("doctor", "--json")
    assert answer.returncode == 0, answer.stdout
    assert json.loads(answer.stdout)["ok"]


@pytest.mark.slow
def test_demo_scores_itself_against_the_truth(tmp_path: Path) -> None:
    answer = histocyte("demo", "-o", str(tmp_path), "--json")
    assert answer.returncode == 0, answer.stderr
    record = json.loads(answer.stdout)
    assert record["score"]["detection_f1"] > 0.8
    assert (tmp_path / "synthetic" / "overview.png").exists()


def test_the_real_slide_of_the_demo_is_pinned(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shared / "data" / "wsi" / "CMU-1-Small-Region.svs"
    target = tmp_path / "slide.svs"
    assert demo_command._fetch(target, url=real.as_uri()).read_bytes() == real.read_bytes()
    other = tmp_path / "other.svs"
    other.write_bytes(b"something else")
    with pytest.raises(InputError, match="nothing was kept"):
        demo_command._fetch(tmp_path / "new.svs", url=other.as_uri())
    assert not (tmp_path / "new.svs").exists()
    with pytest.raises(InputError, match="could not be fetched"):
        demo_command._fetch(tmp_path / "new.svs", url=(tmp_path / "gone.svs").as_uri())
    assert hashlib.sha256(target.read_bytes()).hexdigest() == demo_command.REAL_SLIDE_SHA256
