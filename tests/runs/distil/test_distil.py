"""Distillation as one call from Python: where it stops, how it goes on, what it gives and refuses."""

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
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

TEACHER = "hover-small-consep"
QUICK: dict[str, Any] = {"mpp": 0.25, "steps": 1, "batch": 1, "crop_px": 64, "threads": 1, "cost": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled images with the teacher's classes."""
    folder = tmp_path_factory.mktemp("mine")
    for number in range(3):
        labels = packed_ellipses((96, 96), 8, seed=number)
        Image.fromarray(paint_truth(labels, CONSEP)).save(folder / f"p{number}.png")
        np.savez(folder / f"p{number}.npz", inst=labels.instances, type=labels.types)
    (folder / "classes.json").write_text('{"1": "other", "2": "inflammatory", "3": "epithelial", "4": "spindle"}')
    return folder


@pytest.mark.torch
def test_it_stops_after_any_image_and_the_same_call_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("histocyte.runs.distil.run.Curves.draw", lambda *_, **__: None)
    run = tmp_path / "run"
    with pytest.raises(Stopped, match="What the teachers have said so far"):
        hc.distil(TEACHER, data, run, **QUICK, stop=lambda: True)
    assert len(list((run / "teachers").rglob("*.safetensors"))) == 1
    calls = 0

    def after_training() -> bool:
        nonlocal calls
        calls += 1
        return (run / "model.safetensors").exists()

    with pytest.raises(Stopped, match="still to be compared"):
        hc.distil(TEACHER, data, run, **QUICK, stop=after_training)
    assert calls > 2
    assert not (run / "card.md").exists()
    taught = hc.distil([TEACHER], [data], run, **QUICK)
    assert taught.model == run / "model.safetensors"
    assert taught.spec.classes == CONSEP
    assert taught.card["made by"].startswith(f"histocyte.distil(teachers=['{TEACHER}'], data=['{data.name}'], ")
    assert str(tmp_path) not in taught.card["made by"]
    assert TEACHER in taught._repr_html_()
    assert TEACHER in repr(taught)
    assert capfd.readouterr() == ("", "")


@pytest.mark.torch
def test_wrong_arguments_are_refused_in_the_command_lines_words(data: Path, tmp_path: Path) -> None:
    for match, wrong in (
        ("--steps 0: it is a whole number of 1 or more", {"steps": 0}),
        ("--share 2: it is a number from 0 to 1", {"share": 2}),
        ("no teacher to learn from", {"teachers": []}),
        ("No model called 'nosuch'|There is no .*nosuch", {"teachers": "nosuch"}),
        ("is one of natural, swapped", {"reading": "other"}),
    ):
        given: dict[str, Any] = {"teachers": TEACHER, **QUICK, **wrong}
        with pytest.raises(HistocyteError, match=match):
            hc.distil(data=data, output=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()
