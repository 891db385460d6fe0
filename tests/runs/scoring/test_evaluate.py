"""Scoring a model, and files of cells, by one call from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import histocyte as hc
from histocyte.core.errors import HistocyteError
from histocyte.core.listener import Stopped
from histocyte.core.taxonomies import CONSEP
from histocyte.evaluation.report import Report
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

MODEL = "hover-small-consep"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labelled images with CoNSeP's classes."""
    folder = tmp_path_factory.mktemp("mine")
    for number in range(2):
        labels = packed_ellipses((96, 96), 8, seed=number)
        Image.fromarray(paint_truth(labels, CONSEP)).save(folder / f"p{number}.png")
        np.savez(folder / f"p{number}.npz", inst=labels.instances, type=labels.types)
    (folder / "classes.json").write_text('{"1": "other", "2": "inflammatory", "3": "epithelial", "4": "spindle"}')
    return folder


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int | None, int]] = []

    def say(self, text: str) -> None:
        raise AssertionError(text)

    def task(self, name: str, total: int | None, *, unit: str = "steps", done: int = 0) -> Any:
        told = self

        class Task:
            def __enter__(self) -> Task:
                self.done = 0
                return self

            def advance(self, steps: int = 1, *, note: str | None = None) -> None:
                self.done += steps

            def __exit__(self, *_: object) -> None:
                told.tasks.append((name, total, self.done))

        return Task()


def test_a_model_is_scored_by_name_or_loaded_and_the_report_says_of_what(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = Told()
    report = hc.evaluate(MODEL, data, mpp=0.25, device="cpu", listener=told)
    assert told.tasks[-1] == ("scoring", 2, 2)
    assert isinstance(report, Report)
    assert (report.title, report.left_out, report.sources[data.name].n_images) == (MODEL, 0, 2)
    assert report.to_json()["split"] == "unseen"
    assert f"<td>{data.name}<td>" in report._repr_html_()
    assert f"{data.name}: 2 images" in repr(report)
    loaded = hc.load(MODEL, device="cpu", workers=1)
    one = hc.evaluate(loaded, [data], mpp=0.25, images=["p1"])
    assert [image.info.name for image in one.images] == ["p1"]
    assert one.facts["model_sha256"] == report.facts["model_sha256"]
    assert capfd.readouterr() == ("", "")
    with pytest.raises(HistocyteError, match="A loaded model runs as it was loaded"):
        hc.evaluate(loaded, data, mpp=0.25, views=4)
    with pytest.raises(HistocyteError, match="views and tiles to load"):
        hc.evaluate(loaded, data, mpp=0.25, tile_px=64)
    with pytest.raises(HistocyteError, match="--margin 48: margins of .* in tiles of 96 px"):
        hc.evaluate(MODEL, data, mpp=0.25, tile_px=96, margin_px=48)
    other = hc.evaluate(MODEL, data, mpp=0.25, device="cpu", tile_px=64, margin_px=16)
    for of, tiles in ((report, (768, 32)), (other, (64, 16))):
        assert (of.to_json()["tile_px"], of.to_json()["margin_px"]) == tiles
    scores = [of.sources[data.name].scores["bpq"].value for of in (report, other)]
    assert scores[0] != scores[1]  # the network sees less of the 96 px
    with pytest.raises(Stopped):
        hc.evaluate(loaded, data, mpp=0.25, stop=lambda: True)


def test_what_cannot_be_scored_is_refused_before_a_model_is_loaded(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("histocyte.inference.load.find_model", None)
    for match, wrong in (
        ("No split called 'unsee'", {"split": "unsee"}),
        ("No runtime called 'onnx'", {"runtime": "onnx"}),
        ("No precision called 'f16'", {"precision": "f16"}),
        ("No list of classes called 'conse'. Did you mean 'consep'?", {"classes": "conse"}),
    ):
        with pytest.raises(HistocyteError, match=match):
            hc.evaluate(MODEL, data, mpp=0.25, **wrong)  # type: ignore[arg-type]


def test_files_of_cells_are_scored(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "found"
    found.mkdir()
    for number in range(2):
        labels = np.load(data / f"p{number}.npz")
        np.savez(found / f"p{number}.npz", inst=labels["inst"], type=labels["type"])
    report = hc.score(found, data, mpp=0.25, classes={str(i): n for i, n in enumerate(CONSEP.names, 1)})
    assert report.sources[data.name].scores["bpq"].value == pytest.approx(1)
    assert report.sources[data.name].scores["mpq"].value == pytest.approx(1)
    assert (len(report.files), report.notes, report.title) == (2, (), "found")
    report.write_csv(str(tmp_path / "scores.csv"))
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 3
    assert hc.score(found, data, mpp=0.25, with_classes=False).class_names == ()
    with pytest.raises(HistocyteError, match="--origin 3,4 is for one crop"):
        hc.score(found, data, mpp=0.25, origin=(3, 4))
    with pytest.raises(Stopped, match="1 of 2 files scored"):
        hc.score(found, data, mpp=0.25, with_classes=False, stop=lambda: True)
    assert capfd.readouterr() == ("", "")


def test_scores_of_changed_images_stand_beside_those_of_the_images(data: Path, tmp_path: Path) -> None:
    loaded = hc.load(MODEL, device="cpu", workers=1)
    page = tmp_path / "page.html"
    report = hc.evaluate(loaded, data, mpp=0.25, images=["p1"], perturb=True, html=page)
    assert len(report.perturbed) == 14
    assert report.perturbed[0].scores["bpq"].value == report.sources[data.name].scores["bpq"].value
    told = report.to_json()["perturbed"]
    assert isinstance(told, list)
    assert {row["kind"] for row in told} == {"none", "stain", "blur", "jpeg", "mpp"}
    assert len({row["scores"]["bpq"]["value"] for row in told}) > 5
    text = page.read_text(encoding="utf-8")
    assert "Changed images" in text
    assert "JPEG 30" in text
    assert "perturbed" not in hc.evaluate(loaded, data, mpp=0.25, images=["p1"]).to_json()
