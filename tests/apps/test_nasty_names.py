"""Commands over files and classes whose names look like markup: all is done, and all is printed as it is called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histocyte.apps.cli.main import app
from histocyte.model.checkpoint import SPEC_KEY, read_spec
from histocyte.model.zoo import find_model
from histocyte.testing.mutations import with_onnx_metadata

NAMES = ("b].png", "[red]x.png")
CLASSES = ("[/bold]x", "[red]y", "\x1b[31mz", "=1+1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "a["
    images.mkdir()
    for name in NAMES:
        Image.fromarray(np.full((64, 64, 3), 240, np.uint8)).save(images / name)
    files = find_model("hover-small-consep")
    assert files.onnx is not None
    assert files.safetensors is not None
    spec = json.loads(read_spec(files.safetensors).model_dump_json())
    for each, name in zip(spec["taxonomy"]["classes"], CLASSES, strict=True):
        each["name"] = name
    spec |= {"name": "[/m]", "description": "[bold]"}
    model = with_onnx_metadata(files.onnx.read_bytes(), {SPEC_KEY: json.dumps(spec)})
    (tmp_path / "m[x].onnx").write_bytes(model)
    return tmp_path


def test_slides_and_classes_called_like_markup(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [str(folder / "a[" / name) for name in NAMES]
    common = ["--mpp", "0.25", "--model", str(folder / "m[x].onnx"), "--workers", "1", "-o", str(folder / "out")]
    (folder / "a[" / "bad].png").write_bytes(b"\x89PNG")
    with pytest.raises(SystemExit, match="2"):
        app(["segment", *images, str(folder / "a[" / "bad].png"), *common], standalone_mode=True)
    told = capsys.readouterr()
    for text in ("b]", "[red]x", "a[/bad].png", "2 of 3 slides done", "0 [/bold]x, 0 [red]y", r"0 \x1b[31mz"):
        assert text in told.err, text
    assert "\x1b" not in told.out + told.err
    app(["models", "show", str(folder / "m[x].onnx")], standalone_mode=False)
    app(["counts", str(folder / "out" / "b]"), "--html", str(folder / "c.html")], standalone_mode=False)
    told = capsys.readouterr()
    assert "[/bold]x" in told.out
    assert "\x1b" not in told.out + told.err
