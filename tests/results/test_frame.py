"""A slide whose file states what was scanned of it: GeoJSON counts from there, as QuPath does, tables from level 0."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from histocyte import pipeline
from histocyte.core.taxonomies import CONSEP
from histocyte.counts.count import count_cells
from histocyte.formats.foreign.open import open_cells
from histocyte.formats.geojson.cells import read_geojson
from histocyte.formats.geoparquet import read_cells
from histocyte.inference.load import Model
from histocyte.pipeline import Settings
from histocyte.results import Options, segment_to_folder
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.testing.vendor_files import write_leica

CORNER = (300, 200)
OPTIONS = Options(settings=Settings(block_px=192), workers=1)
LEFT = {"type": "Feature", "geometry": shapely.geometry.mapping(shapely.box(100, 100, 200, 200)), "properties": {}}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "scanned.scn"
    write_leica(path, paint_truth(packed_ellipses((300, 256), 60, seed=2), CONSEP), corner=CORNER, mpp=(0.25, 0.25))
    return path


@pytest.fixture(scope="module")
def result(scanned: Path, perfect_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    segment_to_folder(scanned, out, perfect_model, OPTIONS)
    return out / "scanned"


def test_geojson_is_in_the_frame_that_qupath_shows_and_the_table_in_level_0(result: Path) -> None:
    table = read_cells(result / "cells.parquet")
    assert len(table) == 60
    assert (table.xy >= CORNER).all()
    assert table.origin == CORNER
    features = json.loads(gzip.decompress((result / "cells.geojson.gz").read_bytes()))["features"]
    shown = np.concatenate([f["geometry"]["coordinates"][0] for f in features])
    assert shown.min() >= 0
    assert (shown.max(axis=0) <= [300, 256]).all()
    back = read_geojson(result / "cells.geojson.gz", mpp=0.25, origin=table.origin)
    np.testing.assert_allclose(back.contour_xy, table.contour_xy, atol=0.01)
    tissue = shapely.from_geojson((result / "tissue.geojson").read_text())
    assert tissue.bounds[:2] == (-300, -200)
    run = json.loads((result / "run.json").read_text())
    assert run["bounds_px"] == [*CORNER, 300, 256]
    assert "QuPath" in run["notes"][0]
    assert "x 300, y 200" in run["notes"][0]


def test_a_region_drawn_in_qupath_is_searched_where_it_was_drawn(
    scanned: Path, result: Path, perfect_model: Model, tmp_path: Path
) -> None:
    roi = tmp_path / "roi.geojson"
    roi.write_text(json.dumps(LEFT))
    record = segment_to_folder(scanned, tmp_path, perfect_model, replace(OPTIONS, roi=roi))
    xy = read_cells(result / "cells.parquet").xy - CORNER
    inside = int(((xy >= 100) & (xy <= 200)).all(axis=1).sum())
    assert inside > 3
    assert record.cells == inside
    for file in ("cells.parquet", "cells.geojson.gz"):
        counted = count_cells(result / file, roi=roi)
        assert [row.classes[0].count for row in counted.regions] == [inside], file


def test_table_and_geojson_are_scored_in_one_frame(result: Path) -> None:
    table, geojson = (open_cells(result / name).shapes for name in ("cells.parquet", "cells.geojson.gz"))
    for shapes in (table, geojson):
        assert len(shapes.draw((256, 300)).outside) == 0
    assert (table.draw((256, 300)).labels == geojson.draw((256, 300)).labels).mean() > 0.99


def test_cells_in_memory_know_their_frame(scanned: Path, perfect_model: Model, tmp_path: Path) -> None:
    cells = pipeline.segment(scanned, model=perfect_model)
    cells.take(np.arange(5)).to_geojson(tmp_path / "five.geojson")
    shown = read_geojson(tmp_path / "five.geojson", mpp=0.25)
    np.testing.assert_allclose(shown.contour_xy, cells.take(np.arange(5)).contour_xy - CORNER, atol=0.01)
    cells.to_parquet(tmp_path / "cells.parquet")
    assert read_cells(tmp_path / "cells.parquet").origin == CORNER
