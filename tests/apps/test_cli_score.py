"""`histocyte score` on real labels, written as HoVer-Net writes them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from histocyte.apps.cli.score import score
from histocyte.core.errors import InputError

APP = typer.Typer()
APP.command()(score)
MAP = "other=1,inflammatory=2,epithelial=3,spindle=4"


@pytest.fixture
def folders(shared: Path, tmp_path: Path) -> tuple[Path, Path]:
    """One image of CoNSeP and its own labels as HoVer-Net's JSON."""
    truth, predictions = tmp_path / "consep", tmp_path / "json"
    truth.mkdir()
    predictions.mkdir()
    for suffix in (".webp", ".npz"):
        (truth / f"train_1{suffix}").symlink_to(shared / "data" / "consep" / f"train_1{suffix}")
    with np.load(truth / "train_1.npz") as file:
        labels, types = file["inst"], file["type"]
    cells = {}
    for i in np.unique(labels[labels > 0]):
        pieces, _ = cv2.findContours((labels == i).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cells[str(i)] = {"contour": max(pieces, key=cv2.contourArea)[:, 0].tolist(), "type": int(types[i])}
    (predictions / "train_1.json").write_text(json.dumps({"nuc": cells}))
    return predictions, truth


def test_labels_scored_against_themselves_are_perfect(folders: tuple[Path, Path]) -> None:
    answer = CliRunner().invoke(APP, [*map(str, folders), "--classes", MAP, "--json"])
    assert answer.exit_code == 0, answer.exception
    scores = json.loads(answer.stdout)["sources"]["consep"]["scores"]
    assert [scores[k]["value"] for k in ("bpq", "mpq", "accuracy")] == pytest.approx([1, 1, 1], abs=0.01)
    plain = CliRunner().invoke(APP, [*map(str, folders), "--no-classes", "--json"])
    assert "mpq" not in json.loads(plain.stdout)["sources"]["consep"]["scores"]


@pytest.mark.parametrize(
    ("options", "says"), [([], "has classes 1, 2"), (["--classes", "tumour=1"], "one of other"), (["gone"], "gone")]
)
def test_what_does_not_fit_is_said(folders: tuple[Path, Path], options: list[str], says: str) -> None:
    predictions, truth = folders
    arguments = ["gone", str(truth)] if options == ["gone"] else [str(predictions), str(truth), *options]
    answer = CliRunner().invoke(APP, arguments)
    assert isinstance(answer.exception, InputError)
    assert says in str(answer.exception)
