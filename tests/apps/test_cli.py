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
from histocyte.core.cells import Cells
from histocyte.core.errors import InputError
from histocyte.core.instances import Labels
from histocyte.core.taxonomies import CONSEP
from histocyte.testing.pyramid import write_pyramid
from histocyte.testing.synthetic import SyntheticSlide, paint_tissue


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
    "not a number": (["segment", "{image}", "--mpp", "fine"], "--mpp"),
    "no such data": (["evaluate", "hover-unet-consep", "nowhere"], "nowhere"),
    "external data": (["train", "cpm15"], "never trained"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.torch] * (WRONG[case][0][0] == "train")) for case in WRONG]
)
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
    score = record["score"]
    assert score["detection_f1"] > 0.8
    classes = score["classes"]
    assert sum(c["painted"] for c in classes.values()) == score["truth"]
    assert sum(c["found"] for c in classes.values()) == round(score["recall"] * score["truth"])
    right = sum(c["called"][name] for name, c in classes.items())
    assert score["class_accuracy"] == right / sum(c["found"] for c in classes.values())
    assert (tmp_path / "synthetic" / "overview.png").exists()


def test_the_demo_says_which_classes_the_found_nuclei_got() -> None:
    labels = np.zeros((60, 60), np.int32)
    for i, x in enumerate((5, 20, 35, 50), 1):
        labels[10:16, x - 3 : x + 3] = i
    truth = SyntheticSlide(np.zeros((60, 60, 3), np.uint8), Labels(labels, np.array([0, 4, 4, 3, 2], np.uint8)), 0.25)
    # Spindle, spindle called epithelial, epithelial, and the inflammatory one is missed; one more is false.
    xy = np.array([[50.0, 50.0], [5, 13], [20, 13], [35, 13]])
    p = np.eye(4, dtype=np.float32)[[0, 3, 2, 2]]
    contour = np.concatenate([xy + offset for offset in (-1.0, 1.0)]).reshape(2, 4, 2).transpose(1, 0, 2).reshape(-1, 2)
    found = Cells(xy, contour, np.arange(5) * 2, np.ones(4, np.float32), p, np.ones(4, np.float32), CONSEP, 0.25)
    score = demo_command._scored(truth, found)
    assert (score["truth"], score["recall"], score["precision"]) == (4, 0.75, 0.75)
    assert score["class_accuracy"] == 2 / 3
    assert score["classes"]["spindle"] == {
        "painted": 2, "found": 2, "called": {"other": 0, "inflammatory": 0, "epithelial": 1, "spindle": 1}
    }  # fmt: skip
    assert score["classes"]["inflammatory"]["found"] == 0
    assert demo_command._classes_in_words(score) == (
        "Of those found 67 % have the painted class: epithelial 1 of 1, spindle 1 of 2 (1 called epithelial)."
    )


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
