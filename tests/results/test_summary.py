from __future__ import annotations

import csv

import numpy as np
import pytest
import shapely

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.results.summary import Summary


def rows(path):
    with open(path, newline="") as file:
        return {(r["region"], r["class"]): r for r in csv.DictReader(file)}


def test_counts_density_and_area_by_region_and_class(tmp_path, cells_of):
    cells = cells_of(1000)
    left = shapely.box(0, 0, 75_000, 150_000)
    summary = Summary(CONSEP, [("all tissue", None, 4.0), ("left, upper", left, 2.0), ("none", shapely.Polygon(), 0.0)])
    for part in np.split(np.arange(1000), [300, 300]):
        summary.add(cells.take(part))
    summary.write(tmp_path / "summary.csv")
    table = rows(tmp_path / "summary.csv")
    assert len(table) == 3 * 5
    for region, inside, area in (("all tissue", cells.xy[:, 0] > -1, 4), ("left, upper", cells.xy[:, 0] <= 75_000, 2)):
        for i, name in enumerate(("all", *CONSEP.names)):
            of_class = inside & ((cells.class_index == i - 1) | (name == "all"))
            row = table[region, name]
            assert int(row["count"]) == of_class.sum() > 0
            assert float(row["density_per_mm2"]) == pytest.approx(of_class.sum() / area, abs=1e-3)
            assert float(row["mean_area_um2"]) == pytest.approx(cells.area_um2[of_class].mean(), abs=1e-3)
    assert list(table["none", "all"].values()) == ["none", "all", "0", "", ""]
    assert summary.counts() == {n: int((cells.class_index == i).sum()) for i, n in enumerate(CONSEP.names)}
    assert list(table)[:5] == [("all tissue", name) for name in ("all", *CONSEP.names)]


def test_without_classes_or_cells(tmp_path, cells_of, classless):
    summary = Summary(classless, [("tissue", None, 1.0)])
    summary.write(tmp_path / "a.csv")
    assert rows(tmp_path / "a.csv")["tissue", "all"]["count"] == "0"
    summary.add(cells_of(7, taxonomy=classless))
    assert summary.counts() == {"cell": 7}


def test_a_cell_on_the_edge_of_a_region_is_in_it(cells_of, tmp_path):
    cells = cells_of(1)
    x, y = cells.xy[0]
    summary = Summary(CONSEP, [("a", shapely.box(x, y, x + 1, y + 1), 1.0)])
    summary.add(cells)
    summary.write(tmp_path / "a.csv")
    assert rows(tmp_path / "a.csv")["a", "all"]["count"] == "1"


def test_of_many_regions_only_those_near_a_block_are_asked(cells_of, tmp_path, monkeypatch):
    cells = cells_of(300)
    boxes = [shapely.box(x, 0, x + 900, 150_000) for x in range(0, 150_000, 1000)]
    asked = []
    ask = shapely.intersects_xy
    monkeypatch.setattr(shapely, "intersects_xy", lambda g, xy: (asked.append(g), ask(g, xy))[1])
    summary = Summary(CONSEP, [(f"r{i}", box, 1.0) for i, box in enumerate(boxes)])
    order = np.argsort(cells.xy[:, 0])
    for block in np.array_split(order, 30):
        summary.add(cells.take(block))
    assert len(asked) < 400  # of 4,500
    summary.write(tmp_path / "a.csv")
    table = rows(tmp_path / "a.csv")
    assert [int(table[f"r{i}", "all"]["count"]) for i in range(150)] == [ask(b, cells.xy).sum() for b in boxes]


def test_regions_of_one_name_are_refused():
    with pytest.raises(InputError, match="same name"):
        Summary(CONSEP, [("a", None, 1.0), ("a", None, 1.0)])
