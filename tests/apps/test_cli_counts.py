"""`histocyte counts`."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import shapely
import typer
from typer.testing import CliRunner

from histocyte.apps.cli.counts import counts
from histocyte.core.cells import Cells
from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.formats.geoparquet import write_parquet

APP = typer.Typer()
APP.command()(counts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _result(tmp_path / "one", seed=0)


def _result(folder: Path, *, seed: int, slide: str = "f") -> Path:
    folder.mkdir()
    draw = np.random.default_rng(seed)
    n = 200
    xy = draw.uniform(10, 1990, (n, 2))
    contour = (xy[:, None] + np.array([[-2, 0], [0, -2], [2, 0]])).reshape(-1, 2)
    kinds = np.eye(4, dtype=np.float32)[draw.integers(0, 3, n)]
    ones = np.ones(n, np.float32)
    write_parquet(folder / "cells.parquet", Cells(xy, contour, np.arange(n + 1) * 3, ones, kinds, ones, CONSEP, 0.5))
    tissue = json.loads(shapely.to_geojson(shapely.box(0, 0, 2000, 2000)))
    (folder / "tissue.geojson").write_text(json.dumps(tissue))
    run = {"name": "s", "mpp": 0.5, "size_px": [2000, 2000], "signature": {"slide": slide}}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def test_json_csv_and_table_say_the_same(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    answer = CliRunner().invoke(APP, [str(folder), "--json", "--csv", str(file)])
    assert answer.exit_code == 0, answer.exception
    said = json.loads(answer.stdout)
    (region,) = said["regions"]
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [r["class"] for r in rows] == [c["name"] for c in region["classes"]] == ["all", *CONSEP.names]
    assert [int(r["count"]) for r in rows] == [c["count"] for c in region["classes"]]
    assert float(rows[0]["density_per_mm2"]) == region["classes"][0]["density_per_mm2"]["value"] == 200
    assert rows[4]["count"] == "0"
    assert rows[4]["low"] == ""
    table = CliRunner().invoke(APP, [str(folder)]).stdout
    assert "1 mm² searched, n = 16 squares" in " ".join(table.split())
    assert all(name in table for name in CONSEP.names)


def test_many_regions_are_shown_in_one_table_and_written_whole(folder: Path, tmp_path: Path) -> None:
    box = json.loads(shapely.to_geojson(shapely.box(0, 0, 700, 700)))
    roi, file = tmp_path / "roi.geojson", tmp_path / "c.csv"
    roi.write_text(
        json.dumps([{"type": "Feature", "geometry": box, "properties": {"name": f"r{i}"}} for i in range(300)])
    )
    answer = CliRunner().invoke(APP, [str(folder), "--roi", str(roi), "--csv", str(file)])
    assert answer.exit_code == 0, answer.exception
    assert "r199" in answer.output
    assert "r200" not in answer.output
    assert "300 regions" in answer.output
    assert "--csv FILE" in answer.output
    assert len(list(csv.DictReader(file.read_text().splitlines()))) == 300 * 5


def test_wrong_input_is_an_error_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    for arguments in ([str(tmp_path)], [str(folder), "--grid-um", "0"], [str(folder), "--roi", "gone.geojson"]):
        answer = CliRunner().invoke(APP, arguments)
        assert isinstance(answer.exception, InputError)


def test_two_results(folder: Path, tmp_path: Path) -> None:
    other, file = _result(tmp_path / "two", seed=1), tmp_path / "c.csv"
    answer = CliRunner().invoke(APP, [str(folder), str(other), "--json", "--csv", str(file)])
    assert answer.exit_code == 0, answer.exception
    said = json.loads(answer.stdout)
    assert said["format"] == "histocyte-count-agreement/1"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert len(rows) == said["classes"][0]["bias"]["n"] == 16
    assert sum(int(r["all second"]) for r in rows) == said["classes"][0]["total_second"] == 200
    assert "Lin's concordance" in CliRunner().invoke(APP, [str(folder), str(other)]).stdout
    stranger = _result(tmp_path / "three", seed=1, slide="g")
    assert isinstance(CliRunner().invoke(APP, [str(folder), str(stranger)]).exception, InputError)
    assert CliRunner().invoke(APP, [str(folder), str(stranger), "--same-slide"]).exit_code == 0


@pytest.mark.parametrize("with_other", [False, True])
def test_the_page_is_whole_and_escaped(folder: Path, tmp_path: Path, with_other: bool) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    roi, page = tmp_path / "roi.geojson", tmp_path / "p.html"
    regions = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(shapely.box(0, 0, side, side))),
            "properties": {"name": "<script>$x_"},
        }
        for side in (700, 1500)
    ]
    roi.write_text(json.dumps(regions))
    others = [str(_result(tmp_path / "two", seed=1))] if with_other else []
    options = [] if with_other else ["--roi", str(roi)]
    answer = CliRunner().invoke(APP, [str(folder), *others, *options, "--html", str(page)])
    assert answer.exit_code == 0, answer.exception
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert all(uri.startswith("data:") for uri in re.findall(r'(?:src|href)="([^"]*)', text))
    assert text.count("<img") == (5 if with_other else 2)
    assert ("&lt;script&gt;$x_" in text) != with_other
    assert isinstance(CliRunner().invoke(APP, [str(folder), "--html", str(tmp_path)]).exception, InputError)
