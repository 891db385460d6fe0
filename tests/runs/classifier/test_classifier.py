"""A classifier as one call from Python: where it stops, what it gives and refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histocyte.core.errors import HistocyteError
from histocyte.core.listener import Stopped
from histocyte.core.taxonomies import CONSEP
from histocyte.runs.classifier.classifier import TaughtClassifier, teach_classifier
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

MODEL = "hover-small-consep"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled images; the second label list is the user's own."""
    folder = tmp_path_factory.mktemp("own")
    for number in range(3):
        labels = packed_ellipses((96, 96), 8, seed=number)
        Image.fromarray(paint_truth(labels, CONSEP)).save(folder / f"p{number}.png")
        types = np.where(labels.types > 0, (labels.types - 1) % 2 + 1, 0).astype(np.uint8)
        np.savez(folder / f"p{number}.npz", inst=labels.instances, type=types)
    return folder


@pytest.mark.torch
def test_it_stops_after_an_image_and_refuses_in_the_command_lines_words(data: Path, tmp_path: Path) -> None:
    file, own = tmp_path / "c.safetensors", {"mpp": 0.25, "device": "cpu", "classes": ["tumour", "stroma"]}
    with pytest.raises(Stopped, match="cells of some images are still to be found"):
        teach_classifier(MODEL, data, file, **own, stop=lambda: True)  # type: ignore[arg-type]
    for match, wrong in (
        ("--epochs 0: it is a whole number of 1 or more", {"epochs": 0}),
        ("--cells 1: it is a whole number of 2 or more", {"cells": 1}),
        ("has no list of classes", {"classes": None}),
        ("No model called", {"model": "hover-smal-consep"}),
    ):
        with pytest.raises(HistocyteError, match=match):
            teach_classifier(**{"model": MODEL, "data": data, "output": file, **own, **wrong})  # type: ignore[arg-type]
    assert not file.exists()


def test_it_shows_its_scores_in_a_notebook() -> None:
    scores: Any = SimpleNamespace(table=lambda: (("class", "F1"), [("<tumour>", "0.500")]))
    taught = TaughtClassifier(Path("c"), {"taxonomy": {"classes": [{"name": "tumour"}]}}, scores, ())
    assert repr(taught) == "<TaughtClassifier c: tumour>"
    assert "<td>&lt;tumour&gt;<td>0.500" in taught._repr_html_()
