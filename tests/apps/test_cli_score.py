"""`histocyte score` on real labels, written as other programs write them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
import typer
from scipy.io import savemat
from typer.testing import CliRunner

from histocyte.apps.cli.score import score
from histocyte.core.errors import InputError

APP = typer.Typer()
APP.command()(score)
MAP = "other=1,inflammatory=2,epithelial=3,spindle=4"
NAMES = ("other", "inflammatory", "epithelial", "spindle")


def run(*arguments: object) -> dict:
    answer = CliRunner().invoke(APP, [*map(str, arguments), "--json"])
    assert answer.exit_code == 0, answer.exception
    return json.loads(answer.stdout)


def labels_of(truth: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(truth / "train_1.npz") as file:
        return file["inst"], file["type"]


@pytest.fixture
def truth(shared: Path, tmp_path: Path) -> Path:
    """A corner of one image of CoNSeP."""
    folder = tmp_path / "consep"
    folder.mkdir()
    with np.load(shared / "data" / "consep" / "train_1.npz") as file:
        np.savez(folder / "train_1.npz", inst=file["inst"][:250, :250], type=file["type"])
    picture = cv2.imread(str(shared / "data" / "consep" / "train_1.webp"))
    cv2.imwrite(str(folder / "train_1.png"), picture[:250, :250])
    return folder


@pytest.fixture
def predictions(truth: Path, tmp_path: Path) -> Path:
    """Its own labels as HoVer-Net's JSON."""
    folder = tmp_path / "json"
    folder.mkdir()
    labels, types = labels_of(truth)
    cells = {}
    for i in np.unique(labels[labels > 0]):
        pieces, _ = cv2.findContours((labels == i).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cells[str(i)] = {"contour": max(pieces, key=cv2.contourArea)[:, 0].tolist(), "type": int(types[i])}
    (folder / "train_1.json").write_text(json.dumps({"nuc": cells}))
    return folder


def along_edges(mask: np.ndarray) -> dict:
    """The union of the pixels' squares, with all its pieces and holes."""
    rows, columns = np.nonzero(mask)
    return shapely.geometry.mapping(shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1)))


def as_geojson(truth: Path) -> str:
    labels, types = labels_of(truth)
    features = []
    for i in np.unique(labels[labels > 0]):
        properties = {"objectType": "detection", "classification": {"name": NAMES[types[i] - 1]}}
        features.append({"type": "Feature", "geometry": along_edges(labels == i), "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": features})


def test_labels_scored_against_themselves_are_perfect_in_every_format(truth: Path, tmp_path: Path) -> None:
    labels, types = labels_of(truth)
    (tmp_path / "x.geojson").write_text(as_geojson(truth))
    cv2.imwrite(str(tmp_path / "x.png"), labels.astype(np.uint16))
    ids = np.unique(labels[labels > 0])
    savemat(tmp_path / "x.mat", {"inst_map": labels, "inst_type": types[ids][:, None]})
    expected = run(truth / "train_1.npz", truth / "train_1.npz", "--classes", MAP)
    assert expected["class_names"] == list(NAMES)
    scores = expected["sources"]["consep"]["scores"]
    assert [scores[k]["value"] for k in ("aji", "dice", "accuracy", "f1")] == [1, 1, 1, 1]
    [image] = expected["images"]
    assert image["tp"] == image["iou_sum"] == len(ids)
    assert image["bpq"] == pytest.approx(1, abs=1e-6)  # PanNuke's script adds 1e-6 to the divisors
    for name, options in (("x.geojson", ()), ("x.mat", ("--classes", MAP))):
        got = run(tmp_path / name, truth / "train_1.npz", *options)
        assert (got["images"], got["sources"]) == (expected["images"], expected["sources"])
    got = run(tmp_path / "x.png", truth, "--no-classes")
    assert got["images"][0]["tp"] == got["images"][0]["iou_sum"] == len(ids)
    assert "mpq" not in got["sources"]["consep"]["scores"]
    # Without any class the classes are not scored, rather than all missed.
    assert "mpq" not in run(tmp_path / "x.png", truth)["sources"]["consep"]["scores"]
    # And the other way round: outlines as the truth, its image beside it.
    beside = tmp_path / "own"
    beside.mkdir()
    (beside / "train_1.geojson").symlink_to(tmp_path / "x.geojson")
    (beside / "train_1.png").symlink_to(truth / "train_1.png")
    turned = run(truth / "train_1.npz", beside, "--mpp", 0.25, "--classes", "other=1,epithelial=3")
    assert turned["class_names"] == ["epithelial", "other"]
    assert turned["images"][0]["iou_sum"] == len(ids)


def test_a_folder_of_hovernet_is_scored_by_codes(predictions: Path, truth: Path) -> None:
    scores = run(predictions, truth, "--classes", MAP)["sources"]["consep"]["scores"]
    assert [scores[k]["value"] for k in ("bpq", "mpq", "accuracy")] == pytest.approx([1, 1, 1], abs=0.01)


def test_what_files_hold_beside_the_scores_is_told(truth: Path, tmp_path: Path) -> None:
    features = json.loads(as_geojson(truth))["features"]
    del features[-1]["properties"]["classification"]
    drawn = {**features[0], "properties": {"objectType": "annotation"}}
    twice = {"type": "FeatureCollection", "features": [drawn, *features, features[0]]}
    (tmp_path / "x.geojson").write_text(json.dumps(twice))
    told = run(tmp_path / "x.geojson", truth / "train_1.npz")["files"]
    left_out = "'x.geojson': left out, being no cells: 1 annotation."
    numbers = {"hidden": 1, "without_class": 1, "outside": 0, "truth_hidden": 0}
    assert told == [{"source": "consep", "name": "train_1", **numbers, "notes": [left_out]}]
    pages = tmp_path / "report.html", tmp_path / "scores.csv"
    arguments = [tmp_path / "x.geojson", truth / "train_1.npz", "--html", pages[0], "--csv", pages[1]]
    answer = CliRunner().invoke(APP, [*map(str, arguments)])
    assert answer.exit_code == 0, answer.exception
    sentence = "1 found cell lies wholly under others or repeats them, and counts as a false find (train_1 1)."
    assert sentence in answer.output
    assert left_out in answer.output
    assert sentence in pages[0].read_text()
    assert len(pages[1].read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "has classes 1, 3"),
        (["--classes", "tumour=1"], "one of other"),
        (["gone"], "gone"),
        (["--origin", "2"], "needed is X,Y"),
    ],
)
def test_what_does_not_fit_is_said(predictions: Path, truth: Path, options: list[str], says: str) -> None:
    arguments = ["gone", str(truth)] if options == ["gone"] else [str(predictions), str(truth), *options]
    answer = CliRunner().invoke(APP, arguments)
    assert isinstance(answer.exception, InputError) or answer.exit_code == 2
    assert says in str(answer.exception) + answer.output


def test_an_origin_is_for_one_crop(truth: Path, predictions: Path) -> None:
    np.savez(truth / "train_2.npz", inst=np.zeros((9, 9), np.int32))
    answer = CliRunner().invoke(APP, [str(predictions), str(truth), "--origin", "0,0"])
    assert isinstance(answer.exception, InputError)
    assert "--origin 0,0 is for one crop" in str(answer.exception)
    assert "2 files" in str(answer.exception)


@pytest.mark.parametrize("name", ["x.geojson", "x.npz"])
def test_a_broken_file_ends_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'{"type": "FeatureCollection", "fea' if name == "x.geojson" else b"PK\x03\x04cut")
    np.savez(tmp_path / "t.npz", inst=np.zeros((9, 9), np.int32))
    code = "from histocyte.apps.cli.main import run; run()"
    command = [sys.executable, "-c", code, "score", str(tmp_path / name), str(tmp_path / "t.npz"), "--mpp", "0.25"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert name in done.stderr
