"""Counts and densities of made-up results, against what was put into them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import shapely

from histocyte.core.cells import Cells
from histocyte.core.errors import InputError
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.evaluation.bootstrap import bootstrap_weights
from histocyte.evaluation.counts import count_cells
from histocyte.evaluation.counts_input import read_located
from histocyte.evaluation.counts_squares import MAX_SQUARES, cut_into_squares, resampled_sums
from histocyte.export.geojson import write_geojson
from histocyte.export.geoparquet import write_parquet

MPP = 0.5
TISSUE = shapely.box(0, 0, 4000, 2000)  # 2 mm²


def taxonomy(*names: str) -> Taxonomy:
    return Taxonomy("t", tuple(CellClass(name, (1, 2, 3)) for name in names))


def cells_at(xy: Sequence[Sequence[float]], kinds: Sequence[int], names: Sequence[str] = ("a", "b")) -> Cells:
    """Diamonds around the points."""
    points = np.asarray(xy, np.float64).reshape(-1, 2)
    n = len(points)
    contour = (points[:, None] + np.array([[-2, 0], [0, -2], [2, 0], [0, 2]])).reshape(-1, 2)
    return Cells(
        points,
        contour,
        np.arange(n + 1) * 4,
        np.full(n, 2, np.float32),
        np.eye(len(names), dtype=np.float32)[np.asarray(kinds, int)] if names else np.zeros((n, 0), np.float32),
        np.ones(n, np.float32),
        taxonomy(*names),
        MPP,
    )


def result(
    folder: Path, cells: Cells, tissue: shapely.Geometry | None = TISSUE, *, slide: str = "f1", mpp: float = MPP
) -> Path:
    folder.mkdir(parents=True)
    write_parquet(folder / "cells.parquet", cells)
    polygons = [] if tissue is None else [("Tissue", tissue)]
    (folder / "tissue.geojson").write_text(drawn(*polygons))
    run = {"name": "s", "mpp": mpp, "size_px": [4000, 2000], "signature": {"slide": slide}}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def drawn(*regions: tuple[str, shapely.Geometry]) -> str:
    features = [
        {"type": "Feature", "geometry": json.loads(shapely.to_geojson(g)), "properties": {"name": name}}
        for name, g in regions
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def scattered(n: int, seed: int = 0) -> Cells:
    draw = np.random.default_rng(seed)
    return cells_at(draw.uniform(0, [4000, 2000], (n, 2)), draw.integers(0, 2, n))


def test_squares_have_the_area_of_the_region_and_every_cell_in_it() -> None:
    ring = shapely.box(90, 120, 810, 640).difference(shapely.box(300, 300, 500, 400))
    region = shapely.union(ring, shapely.Polygon([(900, 50), (1000, 60), (950, 200)]))
    squares = cut_into_squares(region, 100.0)
    assert squares.area_px2.sum() == pytest.approx(region.area)
    corners = squares.corners_px().reshape(-1, 2)
    plain = [region.intersection(shapely.box(x, y, x + 100, y + 100)).area for x, y in corners]
    assert squares.area_px2.ravel() == pytest.approx(plain)
    xy = np.random.default_rng(1).uniform(0, 1100, (500, 2))
    xy[0] = 810, 640  # a corner of the region
    kinds = np.arange(500) % 3
    counted = squares.count(xy, kinds, 3)
    inside = squares.holds(xy)
    assert inside[0]
    assert 0 < inside.sum() < 500
    assert counted.sum(axis=(0, 1)).tolist() == np.bincount(kinds[inside]).tolist()


def test_a_cell_on_the_outer_edge_along_the_grid_counts() -> None:
    squares = cut_into_squares(shapely.box(0, 0, 200, 100), 100.0)
    assert squares.area_px2.shape == (1, 2)
    assert squares.count(np.array([[200.0, 100.0], [100.0, 0.0]]), np.array([0, 0]), 1).ravel().tolist() == [0, 2]


def test_too_many_squares_are_refused() -> None:
    side = 100 * (MAX_SQUARES + 1.0)
    with pytest.raises(InputError, match="larger --grid-um"):
        cut_into_squares(shapely.box(0, 0, side, 100), 100.0)


def test_resampled_sums_are_the_bootstrap_of_the_other_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).integers(0, 9, (7, 3)).astype(float)
    expected = bootstrap_weights([""] * 7, replicates=50, seed=3) @ table
    monkeypatch.setattr("histocyte.evaluation.counts_squares._AT_ONCE", 80)
    assert resampled_sums(table, replicates=50, seed=3) == pytest.approx(expected)


def test_density_of_the_searched_tissue(tmp_path: Path) -> None:
    counted = count_cells(result(tmp_path / "r", scattered(1000)))
    (region,) = counted.regions
    everything, a, b = region.classes
    assert [c.name for c in region.classes] == ["all", "a", "b"]
    assert region.searched_mm2 == pytest.approx(2)
    assert (region.squares, everything.density.n) == (32, 32)
    assert everything.count == a.count + b.count == 1000
    assert everything.density.value == pytest.approx(500)
    # Scattered at random, so near a Poisson count: ± 1.96 √1000 / 2 mm².
    assert everything.density.high - everything.density.low == pytest.approx(62, rel=0.4)
    assert counted.notes == ()


def test_clusters_widen_the_interval(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    heaps = draw.uniform(100, [3900, 1900], (20, 2)).repeat(50, axis=0) + draw.normal(0, 20, (1000, 2))
    clustered = count_cells(result(tmp_path / "c", cells_at(heaps, [0] * 1000))).regions[0].classes[0].density
    even = count_cells(result(tmp_path / "e", scattered(1000))).regions[0].classes[0].density
    assert clustered.high - clustered.low > 4 * (even.high - even.low)


def test_regions_with_holes_parts_and_what_was_not_searched(tmp_path: Path) -> None:
    cells = cells_at([(50, 50), (250, 250), (1000, 1000), (3000, 500), (150, 1500)], [0, 0, 0, 1, 1])
    folder = result(tmp_path / "r", cells, shapely.box(0, 0, 4000, 1200))
    ring = shapely.box(0, 0, 500, 500).difference(shapely.box(200, 200, 300, 300))
    two = shapely.MultiPolygon([shapely.box(900, 900, 1100, 1100), shapely.box(2900, 400, 3100, 600)])
    half = shapely.box(0, 1000, 400, 2000)
    away = shapely.box(0, 1300, 10, 1310)
    roi = tmp_path / "roi.geojson"
    roi.write_text(drawn(("ring", ring), ("two", two), ("half", half), ("ring", away)))
    counted = count_cells(folder, roi=roi)
    named = {r.name: r for r in counted.regions}
    assert list(named) == ["ring", "two", "half", "ring (2)"]
    assert [c.count for c in named["ring"].classes] == [1, 1, 0]
    assert named["ring"].area_mm2 == pytest.approx(0.24 * 0.25)
    assert [c.count for c in named["two"].classes] == [2, 1, 1]
    assert [c.count for c in named["half"].classes] == [0, 0, 0]
    assert (named["half"].area_mm2, named["half"].searched_mm2) == pytest.approx((0.1, 0.02))
    assert named["ring (2)"].searched_mm2 == 0
    assert np.isnan(named["ring (2)"].classes[0].density.value)
    assert sum("were searched" in note for note in counted.notes) == 2
    single = named["ring"].classes[0].density
    assert single.n == 1
    assert single.value == pytest.approx(1 / 0.06)
    assert np.isnan(single.low)
    assert any("Few squares ('ring' 1" in note for note in counted.notes)


def test_regions_elsewhere_or_none_are_refused(tmp_path: Path) -> None:
    folder = result(tmp_path / "r", scattered(5))
    roi = tmp_path / "roi.geojson"
    roi.write_text(drawn(("x", shapely.box(9000, 9000, 9100, 9100))))
    with pytest.raises(InputError, match="another one"):
        count_cells(folder, roi=roi)
    roi.write_text(drawn(("x", shapely.Point(1, 1))))
    with pytest.raises(InputError, match="no polygon"):
        count_cells(folder, roi=roi)


@pytest.mark.parametrize("tissue", [TISSUE, None])
def test_no_cells_or_no_tissue_is_said_not_a_crash(tmp_path: Path, tissue: shapely.Geometry | None) -> None:
    counted = count_cells(result(tmp_path / "r", cells_at([], []), tissue))
    everything = counted.regions[0].classes[0]
    assert everything.count == 0
    assert everything.density.value == 0 if tissue is not None else np.isnan(everything.density.value)
    assert np.isnan(everything.density.high)  # nothing found is no proof that there is nothing
    json.dumps(counted.to_json(), allow_nan=False)


def test_a_model_without_classes_has_one_row(tmp_path: Path) -> None:
    counted = count_cells(result(tmp_path / "r", cells_at([(1, 1), (9, 9)], [0, 0], ())))
    assert [(c.name, c.count) for c in counted.regions[0].classes] == [("all", 2)]


def test_a_moved_folder_a_bare_table_and_geojson_hold_the_same(tmp_path: Path) -> None:
    cells = scattered(60)
    folder = result(tmp_path / "k=v" / "r", cells)
    write_geojson(folder / "cells.geojson.gz", cells)
    whole = read_located(folder)
    bare = tmp_path / "x.parquet"
    bare.write_bytes((folder / "cells.parquet").read_bytes())
    assert read_located(bare).searched is None
    (folder / "cells.parquet").unlink()
    geojson = read_located(folder)
    assert (geojson.mpp, geojson.fingerprint, geojson.size_px) == (MPP, "f1", (4000, 2000))
    assert not geojson.stated
    for other in (read_located(bare), geojson):
        assert other.xy == pytest.approx(whole.xy, abs=0.01)
        names = [np.array(o.class_names)[o.kinds].tolist() for o in (other, whole)]
        assert names[0] == names[1]


def test_geojson_of_qupath_counts_cells_alone(tmp_path: Path) -> None:
    box = json.loads(shapely.to_geojson(shapely.box(10, 10, 30, 30)))
    far = json.loads(shapely.to_geojson(shapely.box(0, 0, 2000, 2000)))
    nucleus = json.loads(shapely.to_geojson(shapely.box(50, 50, 54, 54)))
    features = [
        {"type": "Feature", "geometry": far, "properties": {"objectType": "annotation"}},
        {"type": "Feature", "geometry": box, "properties": {"objectType": "detection"}},
        {
            "type": "Feature",
            "geometry": far,
            "nucleusGeometry": nucleus,
            "properties": {"objectType": "cell", "classification": {"names": ["Tumor", "Positive"]}},
        },
    ]
    path = tmp_path / "q.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(InputError, match="--mpp"):
        read_located(path)
    read = read_located(path, mpp=0.5)
    assert read.xy.tolist() == [[20, 20], [52, 52]]
    counted = count_cells(path, mpp=0.5)
    assert [(c.name, c.count) for c in counted.regions[0].classes] == [
        ("all", 2),
        ("Tumor: Positive", 1),
        ("unclassified", 1),
    ]
    assert np.isnan(counted.regions[0].classes[0].density.value)
    assert len(counted.notes) == 3


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    folder = result(tmp_path / "out" / "s", scattered(5))
    for path, says in ((tmp_path / "gone", "There is no"), (tmp_path / "out", "such as"), (tmp_path, "no result")):
        with pytest.raises(InputError, match=says):
            read_located(path)
    with pytest.raises(InputError, match="Leave --mpp out"):
        read_located(folder, mpp=0.25)
    (folder / "run.json").write_text("[")
    with pytest.raises(InputError, match="not the record"):
        read_located(folder)
    (folder / "run.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        read_located(folder)
    broken = tmp_path / "b.parquet"
    broken.write_bytes(b"x")
    with pytest.raises(InputError, match="not a table"):
        read_located(broken)
    with pytest.raises(InputError, match="above 0"):
        count_cells(folder, grid_um=float("nan"))
