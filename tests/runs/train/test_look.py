"""The look at a training's data before its first step: record, sheet of outlines, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.datasets.data_check import DataCheck
from histocyte.datasets.sample import IGNORED, Sample
from histocyte.runs.train.sheet import Row, draw_sheet
from histocyte.runs.train.train import train
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.crops import Crop

RED, GREEN = (250, 0, 0), (0, 250, 0)
TWO = Taxonomy("two", (CellClass("red", RED), CellClass("green", GREEN)))


def pixels_of(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.intp]:
    """(N, 2) row and column of pixels of a colour, below the legend."""
    return np.argwhere((sheet == colour).all(-1)[70:]) + (70, 0)


def test_outlines_on_the_sheet_have_the_colours_of_classes_and_lie_on_their_nuclei() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[8:24, 32:56], labels[40:56, 8:24], labels[40:56, 40:56], labels[:6, :6] = 1, 2, 3, IGNORED
    sample = Sample("i", np.full((64, 64, 3), 90, np.uint8), np.maximum(labels, 0), None, 0.25, "mine", "i")
    object.__setattr__(sample, "types", np.array([0, 1, 2, 0], np.uint8))
    sheet = draw_sheet([Row("mine", "0.25 µm/px", [Crop(sample.image, labels, 0)])], [sample], TWO)
    ground = np.argwhere((sheet == 90).all(-1))
    (top, left), (bottom, right) = ground.min(0), ground.max(0) + 1
    scale = (right - left) / 64
    assert bottom - top == right - left
    for colour, (rows, columns) in ((RED, ((8, 24), (32, 56))), (GREEN, ((40, 56), (8, 24)))):
        outline = pixels_of(sheet, colour)
        low, high = outline.min(0), outline.max(0) + 1
        assert np.allclose(low, (top + rows[0] * scale, left + columns[0] * scale), atol=2)
        assert np.allclose(high, (top + rows[1] * scale, left + columns[1] * scale), atol=2)
    # What nobody labelled is pale.
    assert sheet[top + 5, left + 5].min() > 190


def folder(path: Path, *, mpp: float = 0.25, swapped: bool = False) -> Path:
    path.mkdir()
    for number in range(4):
        labels = packed_ellipses((96, 96), 12, seed=number)
        cv2.imwrite(str(path / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        inst = labels.instances.T if swapped else labels.instances
        np.savez(path / f"i{number}.npz", inst=inst, type=np.append(0, np.arange(labels.instances.max()) % 2 + 1))
    (path / "classes.json").write_text(json.dumps({"1": "tumour", "2": "rest", "mpp": mpp}))
    return path


class Told(list[str]):
    """A listener that keeps what is said."""

    def say(self, text: str) -> None:
        self.append(text)

    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> object:
        from histocyte.core.listener import SILENT

        return SILENT.task(name, total, unit=unit, done=done)


@pytest.mark.torch
def test_a_look_at_the_data_trains_nothing(tmp_path: Path) -> None:
    told, seen = Told(), list[DataCheck]()
    data = folder(tmp_path / "mine", mpp=1.0, swapped=True)
    train(data, tmp_path / "run", encoder="lcnet_035", check_data=True, listener=told, on_data=seen.append)  # type: ignore[arg-type]
    files = {path.name for path in (tmp_path / "run").iterdir()} - {"lock"}
    assert files == {"data_check.json", "data_check.png"}
    (check,) = seen
    assert json.loads((tmp_path / "run" / "data_check.json").read_text()) == json.loads(json.dumps(check.to_json()))
    assert [(row.part, row.images) for row in check.parts] == [("training", 3), ("held out", 1)]
    assert check.parts[0].by_class == (18, 18)
    said = "\n".join(told)
    assert "is its resolution of 1 µm/px right?" in said
    assert "dark nuclei much better with swapped axes" in said
    assert "Only 18 cells show what tumour looks like" in said
    assert str(tmp_path / "run" / "data_check.png") in said
    sheet = cv2.imread(str(tmp_path / "run" / "data_check.png"))
    assert sheet is not None
    assert sheet.shape[0] > 300


@pytest.mark.torch
def test_a_training_looks_at_its_data_before_its_first_step_and_not_when_it_goes_on(tmp_path: Path) -> None:
    seen: list[DataCheck] = []
    data = folder(tmp_path / "mine")
    for steps in (1, 2):
        train(data, tmp_path / "run", encoder="lcnet_035", steps=steps, batch=1, device="cpu", on_data=seen.append)
    assert len(seen) == 1
    assert seen[0].warnings == ()
    assert (tmp_path / "run" / "data_check.png").exists()


@pytest.mark.torch
def test_the_command_shows_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from histocyte.apps.cli.train.train import train as command

    command([folder(tmp_path / "mine")], tmp_path / "run", encoder="lcnet_035", check_data=True)
    shown = capsys.readouterr().out
    for row in (("mine", "images", "3", "1"), ("tumour", "18", "6")):
        assert any(all(cell in line for cell in row) for line in shown.splitlines()), (row, shown)
    assert not (tmp_path / "run" / "log.csv").exists()
