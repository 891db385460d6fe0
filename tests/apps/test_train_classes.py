"""`histocyte train` on classes of one's own, from the folder to the cells of an image."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.apps.cli.train.train import train
from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.formats.geoparquet import read_cells
from histocyte.inference.load import load
from histocyte.model.checkpoint import read_spec
from histocyte.pipeline import segment_image
from histocyte.results.folder import Options, segment_to_folder
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

from ..conftest import PerfectRuntime

pytestmark = pytest.mark.torch

SMALL = "lcnet_035"


def folder(path: Path, *, classes: list[str] | None, types: int = 2, seed: int = 0) -> Path:
    path.mkdir()
    for number in range(3):
        labels = packed_ellipses((96, 96), 12, seed=seed + number)
        cv2.imwrite(str(path / f"i{number}.png"), paint_truth(labels, CONSEP)[..., ::-1])
        count = int(labels.instances.max())
        kinds = np.append(0, np.arange(count) % types + 1) if types else None
        np.savez(path / f"i{number}.npz", inst=labels.instances, **({} if kinds is None else {"type": kinds}))
    if classes is not None:
        (path / "classes.json").write_text(json.dumps(classes))
    return path


def run(data: list[Path], out: Path, **options: object) -> Path:
    given = {"encoder": SMALL, "steps": 1, "batch": 2, "seed": 0, "validation": 0.34, "validate_every": 1}
    given |= {"device": "cpu", "threads": 1, "mpp": 0.25, "name": "mine", **options}
    train(data, out, **given)  # type: ignore[arg-type]
    return out / "model.safetensors"


def test_a_model_has_the_classes_of_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = [folder(tmp_path / "mine", classes=["tumour", "rest"]), folder(tmp_path / "plain", classes=None, types=0)]
    path = run(data, tmp_path / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert "Cells to learn classes from:" in said
    assert read_spec(path).classes.names == ("tumour", "rest")
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert float(dict(zip(log[0].split(","), log[1].split(","), strict=True))["types_ce"]) > 0
    cells = segment_image(cv2.imread(str(data[0] / "i0.png"))[..., ::-1].copy(), load(path, runtime="torch"), mpp=0.25)
    assert cells.taxonomy.names == ("tumour", "rest")


def test_two_classes_of_ones_own_end_in_every_file_of_a_result_and_no_others(tmp_path: Path) -> None:
    names = ("tumour", "other cells (stroma, leukocytes)")
    path = run([folder(tmp_path / "mine", classes=list(names))], tmp_path / "run")
    model = load(path, runtime="torch")
    assert model.taxonomy.names == names
    # One step teaches nothing, so a network that reads the truth stands behind the classes of the file.
    labels = packed_ellipses((96, 96), 12, seed=7)
    labels = replace(labels, types=np.append(0, np.arange(int(labels.instances.max())) % 2 + 1).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "field.png"), paint_truth(labels, model.taxonomy)[..., ::-1])
    perfect = replace(model, runtime=PerfectRuntime(model.taxonomy))
    record = segment_to_folder(tmp_path / "field.png", tmp_path / "out", perfect, Options(mpp=0.25))
    result = tmp_path / "out" / "field"
    found = json.loads(gzip.decompress((result / "cells.geojson.gz").read_bytes()))["features"]
    said = [f["properties"]["classification"] for f in found]
    classes = Counter((each["name"], *each["color"]) for each in said)
    each = np.bincount(labels.types)[1:].tolist() if labels.types is not None else []
    assert classes == {(c.name, *c.colour): n for c, n in zip(model.taxonomy.classes, each, strict=True)}
    assert record.classes == dict(zip(names, each, strict=True))
    with (result / "summary.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["all", *names]
    assert read_cells(result / "cells.parquet").taxonomy == model.taxonomy
    assert (result / "overview.png").is_file()


def test_a_list_of_classes_that_no_cell_has_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No image has cells of the classes a, b.*classes.json"):
        run([folder(tmp_path / "mine", classes=["a", "b"], types=0)], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_several_lists_are_learnt_as_one_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = [
        folder(tmp_path / "consep", classes=None, types=4),
        folder(tmp_path / "mine", classes=["lymphocyte", "other"]),
    ]
    with pytest.raises(InputError, match="different classes"):
        run(data, tmp_path / "no", steps=1)
    assert not (tmp_path / "no").exists()
    path = run(data, tmp_path / "run", classes="cells")
    said = " ".join(capsys.readouterr().err.split())
    assert "that may be of several classes" in said
    assert "Nothing shows what macrophage or neutrophil looks like." in said
    assert read_spec(path).classes.name == "cells"


def test_without_classes_a_model_finds_and_outlines(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain", classes=None, types=0)
    path = run([plain], tmp_path / "run")
    assert not len(read_spec(path).classes)
    with pytest.raises(InputError, match="No image has cells of the classes a, b"):
        run([plain], tmp_path / "no", classes="a,b")
    cells = segment_image(np.full((64, 64, 3), 240, np.uint8), load(path, runtime="torch"), mpp=0.25)
    assert cells.taxonomy.names == ()
