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
from histocyte.counts.agreement import compare_counts, r_squared_of
from histocyte.counts.count import count_cells
from histocyte.counts.input import read_located
from histocyte.counts.squares import MAX_SQUARES, SortedPoints, cut_into_squares, resampled_sums
from histocyte.formats.geojson.cells import write_geojson
from histocyte.formats.geoparquet import write_parquet
from histocyte.metrics.counts import r_squared
from histocyte.statistics.agreement import bland_altman, concordance
from histocyte.statistics.bootstrap import bootstrap_weights

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


def test_points_in_a_region_are_found_without_asking_all(monkeypatch: pytest.MonkeyPatch) -> None:
    xy = np.random.default_rng(0).integers(0, 100, (2000, 2)).astype(float)  # many on the edges of regions
    points, asked = SortedPoints(xy), []
    ask = shapely.intersects_xy
    ring = shapely.box(20, 20, 40, 45).difference(shapely.box(25, 25, 30, 30))
    for region in (ring, shapely.box(0, 0, 99, 99), shapely.Point(50, 50).buffer(9.5), shapely.box(200, 0, 210, 9)):
        monkeypatch.setattr(shapely, "intersects_xy", lambda g, x, y: (asked.append(len(x)), ask(g, x, y))[1])
        found = points.inside(region)
        monkeypatch.undo()
        assert found.tolist() == np.flatnonzero(ask(region, *xy.T)).tolist()
    assert asked[0] < 200
    assert asked[1] == 2000
    assert not len(points.inside(shapely.Polygon()))


def test_many_regions_are_one_table_and_few_words(tmp_path: Path) -> None:
    cells = scattered(3000)
    folder = result(tmp_path / "r", cells)
    boxes = [shapely.box(x, y, x + 90, y + 120) for x in range(0, 4000, 200) for y in range(-60, 1900, 490)]
    roi = tmp_path / "roi.geojson"
    roi.write_text(drawn(*((f"b{i % 50}", box) for i, box in enumerate(boxes))))
    counted = count_cells(folder, roi=roi)
    assert len(counted.regions) == len({r.name for r in counted.regions}) == 80
    for region, box in zip(counted.regions, boxes, strict=True):
        assert region.classes[0].count == shapely.intersects_xy(box, *cells.xy.T).sum()
    [(title, rows)] = counted.tables()
    assert title == "s: 80 regions, all classes together"
    assert [row[0] for row in rows] == [r.name for r in counted.regions]
    assert {len(row) for row in rows} == {len(counted.columns)} == {5}
    [(title, rows)] = counted.tables(most=10)
    assert "of which the first 10" in title
    assert len(rows) == 10
    assert len(counted.notes) == 7  # five with a part outside, how many more, and few squares
    assert all(len(note) < 200 for note in counted.notes)
    few = count_cells(folder, roi=_few(tmp_path, boxes))
    assert len(few.tables()) == 20
    assert few.columns[0] == "class"
    far = [shapely.box(9000, y, 9001, y + 1) for y in range(9)]
    roi.write_text(drawn(*((f"f{i}", box) for i, box in enumerate([*boxes, *far]))))
    agreed = compare_counts(folder, result(tmp_path / "r2", cells.take(np.arange(1500))), roi=roi)
    assert len(agreed.subjects) == 80
    expected = [shapely.intersects_xy(box, *cells.xy[:1500].T).sum() for box in boxes]
    assert (agreed.classes[0].values[:, 1] * [s.searched_mm2 for s in agreed.subjects]).tolist() == pytest.approx(
        expected
    )
    assert any("both searched: 'f80', 'f81', 'f82', 'f83', 'f84' and 4 more." in note for note in agreed.notes)
    assert all(len(note) < 200 for note in agreed.notes)


def _few(folder: Path, boxes: Sequence[shapely.Geometry]) -> Path:
    path = folder / "few.geojson"
    path.write_text(drawn(*((f"b{i}", box) for i, box in enumerate(boxes[:20]))))
    return path


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
    monkeypatch.setattr("histocyte.counts.squares._AT_ONCE", 80)
    assert resampled_sums(table, replicates=50, seed=3) == pytest.approx(expected)


def test_cells_of_the_rim_count_with_the_tissue_they_stand_beside(tmp_path: Path) -> None:
    places = [(1000, 1000), (4030, 600), (-20, -20), (4000.001, 700), (4500, 1000)]  # the last is far outside
    folder = result(tmp_path / "r", cells_at(places, [0] * len(places)))
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"searched_beyond_um": 24.0}))
    counted = count_cells(folder)
    assert counted.regions[0].classes[0].count == 4
    assert counted.notes[-1].endswith("outside the searched tissue: 1 cell.")
    (tmp_path / "east.geojson").write_text(drawn(("East", shapely.box(3000, 0, 5000, 2000))))
    assert count_cells(folder, roi=tmp_path / "east.geojson").regions[0].classes[0].count == 2


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


def test_properties_that_are_no_object_say_nothing(tmp_path: Path) -> None:
    ring = [[1, 1], [20, 1], [20, 20], [1, 1]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": [1]}
    (tmp_path / "cells.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert read_located(tmp_path / "cells.geojson", mpp=MPP).kinds.tolist() == [-1]


@pytest.mark.parametrize("mpp", [float("nan"), -1.0, 0.0])
def test_an_impossible_resolution_is_refused_even_where_the_file_states_it(tmp_path: Path, mpp: float) -> None:
    write_parquet(tmp_path / "mine.parquet", cells_at([[9, 9]], [0]))
    with pytest.raises(InputError, match="outside 0.05–10"):
        read_located(tmp_path / "mine.parquet", mpp=mpp)


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    folder = result(tmp_path / "out" / "s", scattered(5))
    for path, says in ((tmp_path / "gone", "There is no"), (tmp_path / "out", "such as"), (tmp_path, "not a result")):
        with pytest.raises(InputError, match=says):
            read_located(path)
    with pytest.raises(InputError, match="Leave --mpp out"):
        read_located(folder, mpp=0.25)
    run = json.loads((folder / "run.json").read_text())
    wrong: list[dict[str, object]] = [{"mpp": "0.5"}, {"mpp": None}, {"size_px": [1]}, {"bounds_px": 7}, {"name": []}]
    for content in ("[", "null", "[]", *(json.dumps(run | facts) for facts in wrong)):
        (folder / "run.json").write_text(content)
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


def test_two_results_are_compared_square_by_square(tmp_path: Path) -> None:
    cells = scattered(1000)
    fewer = cells.take(np.arange(1000) % 10 > 0)
    agreed = compare_counts(result(tmp_path / "a", cells), result(tmp_path / "b", fewer))
    everything = agreed.classes[0]
    assert [c.name for c in agreed.classes] == ["all", "a", "b"]
    assert everything.totals == (1000, 900)
    place = np.floor(cells.xy / 500).astype(int) @ [1, 8]
    first, second = np.bincount(place), np.bincount(place[np.arange(1000) % 10 > 0])
    assert everything.values.tolist() == np.stack([first, second], axis=1).tolist()
    assert everything.bland_altman == bland_altman(first, second)
    assert everything.concordance == concordance(first, second)
    assert everything.r2.value == pytest.approx(r_squared(first, second))
    assert everything.r2.low < everything.r2.value < everything.r2.high
    assert everything.icc_agreement.value < everything.icc_consistency.value
    assert agreed.notes == ()
    assert [(s.x, s.y) for s in agreed.subjects[:2]] == [(0, 0), (500, 0)]


def test_only_what_both_searched_and_squares_half_covered_count(tmp_path: Path) -> None:
    cells = cells_at([(100, 100), (1100, 100), (1900, 100), (100, 700)], [0] * 4)
    one = result(tmp_path / "a", cells, shapely.box(0, 0, 1700, 900))
    two = result(tmp_path / "b", cells, shapely.box(0, 0, 4000, 600))
    agreed = compare_counts(one, two)
    assert [(s.x, s.y) for s in agreed.subjects] == [(0, 0), (500, 0), (1000, 0)]
    assert agreed.classes[0].totals == (2, 2)
    assert any("compared is what both searched" in note for note in agreed.notes)
    assert any("by both: 5 of 8 squares, with" in note for note in agreed.notes)


def test_regions_are_compared_by_density(tmp_path: Path) -> None:
    cells = scattered(400)
    one, two = result(tmp_path / "a", cells), result(tmp_path / "b", cells.take(np.arange(300)))
    roi = tmp_path / "roi.geojson"
    big, small, out = shapely.box(0, 0, 2000, 2000), shapely.box(2500, 0, 3000, 500), shapely.box(5000, 0, 5010, 9)
    roi.write_text(drawn(("big", big), ("small", small), ("out", out)))
    agreed = compare_counts(one, two, roi=roi)
    assert [s.name for s in agreed.subjects] == ["big", "small"]
    n = shapely.intersects_xy(big, *cells.xy.T).sum()
    assert agreed.classes[0].values[0, 0] == pytest.approx(n / 1.0)
    assert agreed.unit == "cells per mm²"
    assert "Not compared, as they lie outside what both searched: 'out'." in agreed.notes


def test_classes_that_only_one_knows(tmp_path: Path) -> None:
    one = result(tmp_path / "a", cells_at([(10, 10), (600, 10)], [0, 1], ("a", "b")))
    two = result(tmp_path / "b", cells_at([(10, 10), (600, 10)], [0, 1], ("a", "c")))
    agreed = compare_counts(one, two)
    assert [c.name for c in agreed.classes] == ["all", "a"]
    assert agreed.classes[0].totals == (2, 2)
    assert sum("does not know it" in note for note in agreed.notes) == 2
    geojson = tmp_path / "g.geojson"
    features = [{"type": "Feature", "geometry": json.loads(shapely.to_geojson(shapely.box(9, 9, 11, 11)))}]
    features[0]["properties"] = {"classification": {"name": "a"}}
    geojson.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    agreed = compare_counts(one, geojson)
    assert {c.name: c.totals for c in agreed.classes} == {"all": (2, 1), "a": (1, 1), "b": (1, 0)}
    assert any("counts 0 there" in note for note in agreed.notes)
    assert any("could not be checked" in note for note in agreed.notes)


def test_results_of_different_slides_are_refused(tmp_path: Path) -> None:
    one, two = result(tmp_path / "a", scattered(9)), result(tmp_path / "b", scattered(9), slide="f2")
    with pytest.raises(InputError, match="--same-slide"):
        compare_counts(one, two)
    assert any("fingerprints" in note for note in compare_counts(one, two, same_slide=True).notes)
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / name).write_bytes((one / "cells.parquet").read_bytes())
    with pytest.raises(InputError, match="what was searched"):
        compare_counts(tmp_path / "a.parquet", tmp_path / "b.parquet")


@pytest.mark.parametrize("tissue", [TISSUE, shapely.box(0, 0, 400, 400), None])
def test_empty_constant_and_single_are_undefined_not_a_crash(tmp_path: Path, tissue: shapely.Geometry | None) -> None:
    none = cells_at([], [])
    agreed = compare_counts(result(tmp_path / "a", none, tissue), result(tmp_path / "b", none, tissue))
    text = json.dumps(agreed.to_json(), allow_nan=False)
    assert json.loads(text)["classes"][0]["r2"]["value"] is None
    assert agreed.tables()[0][1][-1][1:] == ("–", "–")
    agreed.write_csv(tmp_path / "c.csv")
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 1 + len(agreed.subjects)


def test_r_squared_of_a_constant_is_undefined() -> None:
    constant = np.full(5, 1 / 3)
    assert np.isnan(r_squared_of(constant, np.arange(5.0), replicates=10, seed=0).value)
    two = r_squared_of(np.array([1 / 3, 0.1]), np.array([0.3, 0.1]), replicates=50, seed=0)
    assert 0 < two.value < 1


def test_r_squared_of_few_or_of_one_that_has_any_has_no_interval() -> None:
    first = np.arange(1.0, 11.0)
    second = first + np.tile([0.5, -0.5], 5)
    assert np.isnan(r_squared_of(first[:9], second[:9], replicates=100, seed=0).low)
    ten = r_squared_of(first, second, replicates=100, seed=0)
    assert 0.5 < ten.low < ten.value < ten.high < 1
    assert np.isnan(r_squared_of(np.eye(30)[0], np.eye(30)[0], replicates=100, seed=0).low)


@pytest.mark.parametrize("content", ["{", "[1]", '{"type": "FeatureCollection"}'])
def test_a_damaged_tissue_file_of_our_own_is_said_to_be_so(tmp_path: Path, content: str) -> None:
    folder = result(tmp_path / "s", scattered(4))
    (folder / "tissue.geojson").write_text(content)
    with pytest.raises(InputError, match=r"tissue\.geojson' is damaged: it is not what 'histocyte segment' wrote"):
        read_located(folder)
