"""A published protocol from one command, on a set with PanNuke's folds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from histocyte.apps.cli.main import app
from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.model.checkpoint import read_spec
from histocyte.runs.data.import_data import import_data
from histocyte.runs.train.protocol import train_protocol
from histocyte.runs.train.train import train
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

SMALL = ["--recipe", "hover_small", "--encoder", "mobilenetv2_050", "--steps", "1", "--batch", "2", "--crop-px", "32"]
SMALL += ["--threads", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def pannuke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("sets") / "pannuke"
    for fold in (1, 2, 3):
        folder = source / f"Fold {fold}"
        folder.mkdir()
        scenes = [packed_ellipses((64, 64), 6, seed=10 * fold + i) for i in range(2)]
        masks = np.zeros((2, 64, 64, 6))
        for i, scene in enumerate(scenes):
            masks[i, ..., 0] = np.where(scene.instances % 2 == 0, scene.instances, 0)
            masks[i, ..., 1] = np.where(scene.instances % 2 == 1, scene.instances, 0)
        np.save(folder / "images.npy", np.stack([paint_truth(s, CONSEP) for s in scenes]).astype(np.float64))
        np.save(folder / "masks.npy", masks)
        np.save(folder / "types.npy", np.array(["Breast", "Colon"]))
    import_data("pannuke", source, out)
    return out


@pytest.mark.torch
def test_three_trainings_and_their_mean(pannuke: Path, tmp_path: Path) -> None:
    command = ["train", str(pannuke), "-o", str(tmp_path / "out"), "--protocol", "pannuke", *SMALL]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    assert "3 folds" in run.stdout
    for number, (learn, choose, test) in enumerate((("1", "2", "3"), ("2", "1", "3"), ("3", "2", "1")), 1):
        split = tmp_path / "out" / f"split{number}"
        (entry,) = read_spec(split / "model.safetensors").history.sets
        assert all(f"fold{learn}_" in text for text in entry.learnt)
        assert all(f"fold{choose}_" in text for text in entry.held_out)
        rows = json.loads((split / f"fold{test}.json").read_text())["images"]
        assert sorted(row["name"] for row in rows) == [f"fold{test}_0000", f"fold{test}_0001"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["protocol"] == "pannuke"
    before = (tmp_path / "out" / "split1" / "fold3.json").stat().st_mtime_ns
    assert CliRunner().invoke(app, command).exit_code == 0  # all is there already
    assert (tmp_path / "out" / "split1" / "fold3.json").stat().st_mtime_ns == before
    other = CliRunner().invoke(app, [*command, "--seed", "3"])
    assert isinstance(other.exception, InputError)
    assert "another seed" in str(other.exception)


@pytest.mark.torch
def test_what_does_not_go_together(pannuke: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="pannuke"):
        train_protocol("monuseg", pannuke, tmp_path / "a")
    with pytest.raises(InputError, match="leave out --fold"):
        train_protocol("pannuke", pannuke, tmp_path / "a", fold="1/3")
    with pytest.raises(InputError, match="leave out --fold and --validation"):
        train([f"{pannuke}@fold1"], tmp_path / "a", held_out=[f"{pannuke}@fold2"], fold="1/3")
    with pytest.raises(InputError, match="given twice"):
        train([f"{pannuke}@fold1"], tmp_path / "a", held_out=[f"{pannuke}@fold1"], recipe="hover_small")
    assert not (tmp_path / "a" / "model.safetensors").exists()
