"""A model of tissue from a folder of masks to its scores, and what does not go together."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.evaluation.regions import RegionReport
from histocyte.runs.scoring.evaluate import evaluate
from histocyte.runs.train.train import train

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tissue")
    rng = np.random.default_rng(0)
    for number in range(4):
        mask = np.zeros((64, 64), np.uint8)
        mask[8:40, 8:40], mask[40:, 40:], mask[:4] = 1, 2, 255
        image = np.array([[230, 230, 230], [150, 60, 120], [220, 150, 180]], np.uint8)[np.minimum(mask, 2)]
        cv2.imwrite(str(folder / f"i{number}.png"), image + rng.integers(0, 20, image.shape, np.uint8))
        cv2.imwrite(str(folder / f"i{number}_mask.png"), mask)
    facts = {"1": "tumour", "2": "stroma", "ignored": [255], "mpp": 1.0}
    (folder / "classes.json").write_text(json.dumps(facts))
    (folder / "images.csv").write_text("name,case\ni0,a\ni1,a\ni2,b\ni3,c\n")
    return folder


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    small = {"widths": [8], "levels": 2, "min_area_um2": 20}
    result = train(data, out, recipe="tissue_fcn", options=small, steps=2, batch=2, crop_px=32, device="cpu")
    assert result.spec.classes.names == ("tumour", "stroma")
    assert set(result.scores) == {data.name}
    assert "mean_dice" in result.scores[data.name]
    assert "Dice" in repr(result)
    history = result.spec.history
    held_out, learnt = history.held_out[data.name], {"i0", "i1", "i2", "i3"} - set(history.held_out[data.name])
    assert held_out
    assert not {"i0", "i1"} & set(held_out) or not {"i0", "i1"} & learnt  # a case is on one side
    return result.model


def test_it_is_scored_on_what_it_has_not_seen(data: Path, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    report = evaluate(str(model), data, device="cpu", runtime="torch", html=page)
    assert isinstance(report, RegionReport)
    assert report.class_names == ("background", "tumour", "stroma")
    assert report.left_out_note
    source = report.sources[data.name]
    unknown = 4 * 64
    assert source.confusion.sum() == source.n_images * (64 * 64 - unknown)
    assert page.read_text().count("<h2>") == 3
    said = report.to_json()
    assert said["model"] == "my-model"
    again = evaluate(str(model), data, device="cpu", runtime="torch", split="all")
    assert again.sources[data.name].n_images == 4


def test_labels_of_tissue_and_models_of_cells_do_not_go_together(data: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labels of tissue, and 'my-model' finds cells"):
        train(data, tmp_path / "a", recipe="hover_small", steps=1, device="cpu")
    with pytest.raises(InputError, match="has labels of tissue, and .* finds cells"):
        evaluate("hover-small-consep", data)
    cells = tmp_path / "cells"
    cells.mkdir()
    cv2.imwrite(str(cells / "a.png"), np.zeros((64, 64, 3), np.uint8))
    np.savez(cells / "a.npz", inst=np.eye(64, dtype=np.int32))
    with pytest.raises(InputError, match="labels of cells, and 'my-model' tells tissue apart"):
        evaluate(str(model), cells, mpp=1.0, runtime="torch")
