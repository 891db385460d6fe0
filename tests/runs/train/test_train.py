"""Training as one call from Python: what it writes, how it stops and goes on, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import histocyte as hc
from histocyte.core.errors import HistocyteError, InputError
from histocyte.core.listener import Stopped
from histocyte.core.taxonomies import CONSEP
from histocyte.runs.arguments import Limit, check_limits
from histocyte.runs.train.train import LIMITS
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

QUICK: dict[str, Any] = {"mpp": 0.25, "recipe": "hover_small", "steps": 2, "batch": 1, "crop_px": 64, "threads": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled images of two classes."""
    folder = tmp_path_factory.mktemp("mine")
    for number in range(3):
        labels = packed_ellipses((96, 96), 8, seed=number)
        Image.fromarray(paint_truth(labels, CONSEP)).save(folder / f"p{number}_a.png")
        types = np.where(labels.types > 0, (labels.types - 1) % 2 + 1, 0).astype(np.uint8)
        np.savez(folder / f"p{number}_a.npz", inst=labels.instances, type=types)
    (folder / "classes.json").write_text('{"1": "tumour", "2": "stroma"}')
    return folder


def test_it_stops_where_it_is_told_and_the_same_call_goes_on_without_a_word(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    asked = iter([False, True])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    set_to: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    with pytest.raises(Stopped, match=r"^The state of step 1 of 2 is in"):
        hc.train(data, tmp_path / "run", **QUICK, stop=lambda: next(asked, True))
    assert not (tmp_path / "run" / "model.safetensors").exists()
    result = hc.train([str(data)], str(tmp_path / "run"), **QUICK)
    steps = (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in steps] == ["1", "2"]
    assert (set_to[0], set_to[-1]) == (1, 7)  # as asked for, and as it was before
    assert capfd.readouterr() == ("", "")
    assert result.model == tmp_path / "run" / "model.safetensors"
    assert result.spec.classes.names == ("tumour", "stroma")
    assert set(result.scores) == {data.name}
    assert 0 <= (result.scores[data.name]["bpq"] or 0) <= 1
    assert result.spec.training["command"] == (
        f"histocyte.train(data=['{data.name}'], output='run', recipe='hover_small', steps=2, batch=1, crop_px=64, "
        "threads=1, mpp=0.25)"
    )
    assert f"<td>{data.name}<td>bpq<td>" in result._repr_html_()
    assert str(result.model) in repr(result)


def test_wrong_arguments_are_refused_in_the_command_lines_words(data: Path, tmp_path: Path) -> None:
    for match, wrong in (
        ("--steps 0: it is a whole number of 1 or more", {"steps": 0}),
        ("--steps 1.5: it is a whole number", {"steps": 1.5}),
        ("--validation 0.95: it is a number from 0.01 to 0.9", {"validation": 0.95}),
        ("--batch 'many': it is a whole number", {"batch": "many"}),
        ("--fold and --validation both say", {"fold": (1, 3), "validation": 0.2}),
        ("--fold 4/3: it is the number of a fold", {"fold": (4, 3)}),
        ("No recipe called 'hover_smal'", {"recipe": "hover_smal"}),
        ("--loss-weight nosuch=1: no such term", {"loss_weights": {"nosuch": 1}}),
        ("--loss-weight hover_mse=-1: a weight is", {"loss_weights": {"hover_mse": -1.0}}),
        ("none of them can be read as one of lymphoid, myeloid", {"classes": ["lymphoid", "myeloid"]}),
    ):
        with pytest.raises(HistocyteError, match=match):
            hc.train(data, tmp_path / "run", **{**QUICK, **wrong})
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="--threads inf"):
        check_limits({"threads": float("inf")}, LIMITS)
    assert Limit(0.5, whole=False).option == {"min": 0.5}
