"""Through `import histocyte` alone, as in a notebook: train, stop, go on, segment, read the cells, evaluate."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import histocyte as hc
from histocyte.core.listener import Lines, Stopped
from histocyte.core.taxonomies import CONSEP
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled images of two classes of one's own."""
    folder = tmp_path_factory.mktemp("own")
    for number in range(3):
        labels = packed_ellipses((96, 96), 8, seed=number)
        Image.fromarray(paint_truth(labels, CONSEP)).save(folder / f"p{number}.png")
        types = np.where(labels.types > 0, (labels.types - 1) % 2 + 1, 0).astype(np.uint8)
        np.savez(folder / f"p{number}.npz", inst=labels.instances, type=types)
    (folder / "classes.json").write_text('{"1": "tumour", "2": "stroma"}')
    return folder


@pytest.mark.torch
def test_from_labelled_images_to_cells_and_scores(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    how = {"mpp": 0.25, "recipe": "hover_small", "steps": 2, "batch": 1, "crop_px": 64, "threads": 1}
    heard: list[str] = []
    asked = iter([False, True])
    with pytest.raises(Stopped) as stopped:
        hc.train(data, tmp_path / "run", **how, listener=Lines(heard.append), stop=lambda: next(asked, True))
    assert str(stopped.value) == f"The state of step 1 of 2 is in '{tmp_path / 'run'}'"
    result = hc.train(data, tmp_path / "run", **how, listener=Lines(heard.append))
    assert "Going on from step 1 of 2." in heard
    assert any(line.startswith("training: 2 of 2 steps, loss ") for line in heard)

    image = np.asarray(Image.open(data / "p0.png").convert("RGB"))
    model = hc.load(result.model, device="cpu", workers=1)
    cells = hc.segment(image, model=model, mpp=0.25)
    assert cells.taxonomy.names == ("tumour", "stroma")
    record = hc.segment_to_folder(data / "p0.png", tmp_path / "out", model, hc.Options(mpp=0.25))
    assert isinstance(record, hc.RunRecord)
    again = hc.read_cells(record.outputs["parquet"])
    assert isinstance(again, hc.Cells)
    assert len(again) == len(cells) == record.cells
    report = hc.evaluate(model, data, mpp=0.25, split="all")
    assert set(report.sources) == {data.name}

    shown = [each._repr_html_() for each in (result, model, cells, record, report)]
    assert all(page.startswith(("<table>", "<p>")) for page in shown)
    assert all(name in page for name in ("tumour", "stroma") for page in shown[1:4])
    assert capfd.readouterr() == ("", "")


def test_every_function_takes_a_listener_and_a_stop_by_name_and_has_an_example() -> None:
    for function in (hc.segment, hc.segment_to_folder, hc.train, hc.distil, hc.evaluate, hc.score):
        taken = inspect.signature(function).parameters
        assert taken["listener"].default is taken["stop"].default is None
        assert taken["listener"].kind is taken["stop"].kind is inspect.Parameter.KEYWORD_ONLY
        assert ">>> " in (function.__doc__ or "")


def test_the_page_on_python_shows_what_there_is() -> None:
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        compile(block, "docs/python.md", "exec")
    named = set(re.findall(r"\bhc\.(\w+)", page))
    assert named <= set(dir(hc))
    assert {"segment", "segment_to_folder", "train", "distil", "evaluate", "score", "load", "open_slide"} <= named
