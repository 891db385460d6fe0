"""Curves of a run: both files, self-contained, whatever is in the tables."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import pytest

from histocyte.core.errors import InputError
from histocyte.runs.train.curves import write_curves

pytest.importorskip("matplotlib")


def folder(tmp_path: Path, *, validated: bool) -> Path:
    rows = [f"{i},0.001,{3 / i:.4g},{1 / i:.4g},nan,12.5,0.02" for i in range(1, 1001)]
    head = "step,lr,loss,nucleus_dice,hover_msge,crops_per_s,waited"
    (tmp_path / "log.csv").write_text("\r\n".join([head, *rows, "1001,0.0"]))
    if validated:
        (tmp_path / "validation.csv").write_text("step,bpq,<b>set</b>_f1\n500,0.4,0.6\n1000,0.5,0.7\n")
        (tmp_path / "recipe.json").write_text(
            json.dumps({"model": {"recipe": "hover_unet"}, "training": {"steps": 2000, "batch": 16}})
        )
        facts = {"from_step": 0, "processor": "a <script> processor", "packages": {"torch": "2.0"}}
        (tmp_path / "environment.json").write_text(json.dumps({"sessions": [facts]}))
    return tmp_path


def test_both_files_are_written_and_hold_everything(tmp_path: Path) -> None:
    png, page = write_curves(folder(tmp_path, validated=True), title="my & model")
    picture = cv2.imread(str(png))
    assert picture is not None
    assert picture.std() > 5
    text = page.read_text()
    for part in ("my &amp; model", "1,000 of 2,000", "bpq 0.500 at step 1,000", "a &lt;script&gt; processor", "2.0 %"):
        assert part.replace("2.0 %", "2.0%") in text
    assert "<script" not in text
    assert "&lt;b&gt;set" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert 'src="data:image/svg+xml;base64,' in text


def test_a_run_without_validations_has_curves_and_one_without_a_log_has_none(tmp_path: Path) -> None:
    assert all(path.stat().st_size > 1000 for path in write_curves(folder(tmp_path, validated=False), title="a"))
    with pytest.raises(InputError, match="holds no log"):
        write_curves(tmp_path / "nothing", title="a")


def test_a_point_of_few_steps_is_one_step_and_an_empty_term_has_no_legend(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,lr,loss,dice,msge,typed\n1,0.1,2,1,nan,1\n2,0.1,1,1,nan,1\n")
    _, page = write_curves(tmp_path, title="a")
    text = page.read_text()
    assert "A point of the losses is one step;" in text
    assert "over 1 steps" not in text
    svg = base64.b64decode(text.split("base64,")[1].split('"')[0]).decode()
    assert "<!-- dice -->" in svg
    assert "<!-- msge -->" not in svg
