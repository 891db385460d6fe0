from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from histocyte.core.errors import DiskError, InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.formats import geoparquet
from histocyte.formats.geoparquet import GeoParquetWriter, iter_cells, read_cells, write_parquet

COLUMNS = ("xy", "contour_xy", "contour_offsets", "area_um2", "probabilities", "scores", "embeddings")


def assert_equal(left, right):
    for name in COLUMNS:
        a, b = getattr(left, name), getattr(right, name)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None), name
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert (left.taxonomy, left.mpp) == (right.taxonomy, right.mpp)


@pytest.mark.parametrize("n", [0, 1, 300])
@pytest.mark.parametrize("embeddings", [None, 5])
@pytest.mark.parametrize("classes", [True, False])
def test_what_is_written_reads_back_exactly(tmp_path, cells_of, classless, n, embeddings, classes):
    cells = cells_of(n, embeddings=embeddings if n else None, taxonomy=CONSEP if classes else classless)
    write_parquet(tmp_path / "cells.parquet", cells)
    assert_equal(read_cells(tmp_path / "cells.parquet"), cells)


def test_columns_and_metadata_are_those_of_geoparquet_1_1(tmp_path, cells_of):
    cells = cells_of(200)
    with GeoParquetWriter(tmp_path / "a.parquet", CONSEP, 0.2527, {"slide": "s1", "mpp": "not this"}) as writer:
        writer.write(cells)
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == [
        *("id", "x", "y", "geometry", "bbox", "area_um2", "class", "class_prob", "probabilities", "score")
    ]
    geo = json.loads(table.schema.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    column = geo["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"], column["crs"]) == ("WKB", ["Polygon"], None)
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    own = json.loads(table.schema.metadata[b"histocyte"])
    assert own["slide"] == "s1"
    assert own["mpp"] == 0.2527
    assert own["taxonomy"] == CONSEP.to_json()

    polygons = shapely.from_wkb(table["geometry"].to_numpy())
    exact = shapely.bounds(polygons)
    stored = np.array([list(b.values()) for b in table["bbox"].to_pylist()])
    assert (stored[:, :2] <= exact[:, :2]).all()
    assert (stored[:, 2:] >= exact[:, 2:]).all()
    np.testing.assert_allclose(stored, exact, atol=0.02)
    assert table["id"].to_pylist() == list(range(200))
    assert table["class"].to_pylist() == cells.class_names.tolist()


def test_the_file_does_not_depend_on_how_cells_are_cut(tmp_path, cells_of, monkeypatch):
    monkeypatch.setattr(geoparquet, "_ROW_GROUP", 64)
    cells = cells_of(300)
    for name, cuts in (("a", [0, 300]), ("b", [0, 1, 63, 64, 200, 200, 300])):
        with GeoParquetWriter(tmp_path / name, CONSEP, cells.mpp) as writer:
            for start, end in zip(cuts, cuts[1:], strict=False):
                writer.write(cells.take(np.arange(start, end)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert pq.ParquetFile(tmp_path / "a").metadata.num_row_groups == 5
    assert_equal(read_cells(tmp_path / "a"), cells)
    assert max(len(part) for part in iter_cells(tmp_path / "a", batch=50)) == 50


def test_a_full_disk_leaves_no_file(tmp_path, cells_of, small_disk):
    with small_disk(), pytest.raises(DiskError, match=r"cells\.parquet: File too large"):
        write_parquet(tmp_path / "cells.parquet", cells_of(5000))
    assert not list(tmp_path.iterdir())


def test_an_error_while_writing_leaves_no_file(tmp_path, cells_of, monkeypatch):
    monkeypatch.setattr(geoparquet, "_ROW_GROUP", 10)

    def fail() -> None:
        with GeoParquetWriter(tmp_path / "a", CONSEP, 0.25) as writer:
            writer.write(cells_of(50))
            raise RuntimeError("elsewhere")

    with pytest.raises(RuntimeError, match="elsewhere"):
        fail()
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path, cells_of):
    with pytest.raises(InputError, match="no file"):
        read_cells(tmp_path / "none.parquet")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="not a table of cells"):
        read_cells(tmp_path / "text")
    table = pq.ParquetFile
    write_parquet(tmp_path / "cells", cells_of(5))
    pq.write_table(table(tmp_path / "cells").read().replace_schema_metadata(), tmp_path / "bare")
    with pytest.raises(InputError, match="not a table of cells"):
        read_cells(tmp_path / "bare")
