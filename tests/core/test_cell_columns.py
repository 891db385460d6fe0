from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from histocyte.core.cell_columns import COLUMNS, CellColumn
from histocyte.core.cells import Cells
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.formats.frames import to_pandas
from histocyte.formats.geojson.cells import write_geojson
from histocyte.formats.geoparquet import read_cells, write_parquet
from histocyte.store.table import pack, unpack

TAXONOMY = Taxonomy("two", (CellClass("tumour", (200, 0, 0)), CellClass("stroma", (0, 200, 0))))
STORED = [column for column in COLUMNS if not column.derived]


@pytest.fixture
def cells() -> Cells:
    rng = np.random.default_rng(0)
    corner = np.array([[0, 0], [4, 0], [4, 4]], float)
    return replace(
        Cells.empty(TAXONOMY, 0.25),
        xy=np.array([[2.0, 1], [12, 11]]),
        contour_xy=np.concatenate([corner, corner + 10]),
        contour_offsets=np.array([0, 3, 6]),
        area_um2=rng.random(2, np.float32),
        probabilities=rng.dirichlet([1, 1], 2).astype(np.float32),
        scores=rng.random(2, np.float32),
        embeddings=rng.random((2, 3), np.float32),
    )


def test_every_array_of_cells_is_a_column_or_part_of_an_outline() -> None:
    # An array that nobody declares would be lost by the journal and by every format.
    arrays = {f.name for f in fields(Cells)} - {"taxonomy", "mpp", "origin"}
    assert arrays == {"xy", "contour_xy", "contour_offsets"} | {column.attribute for column in STORED}


@pytest.mark.parametrize("column", STORED, ids=lambda column: column.name)
def test_every_column_survives_taking_joining_the_journal_and_parquet(
    cells: Cells, column: CellColumn, tmp_path: Path
) -> None:
    mine = getattr(cells, column.attribute)
    swapped = Cells.concatenate([cells.take(np.array([1])), cells.take(np.array([0]))])
    np.testing.assert_array_equal(getattr(swapped, column.attribute), mine[::-1])
    np.testing.assert_array_equal(getattr(unpack(pack(cells, np.zeros(2, bool), {}))[0], column.attribute), mine)
    write_parquet(tmp_path / "cells.parquet", cells)
    np.testing.assert_array_equal(getattr(read_cells(tmp_path / "cells.parquet"), column.attribute), mine)


def test_files_call_columns_what_is_declared(cells: Cells, tmp_path: Path) -> None:
    write_parquet(tmp_path / "cells.parquet", cells)
    assert {column.name for column in COLUMNS} <= set(pq.read_schema(tmp_path / "cells.parquet").names)
    write_geojson(tmp_path / "cells.geojson", cells)
    text = (tmp_path / "cells.geojson").read_text(encoding="utf-8")
    for title in ("Area µm²", "Class probability", "P(tumour)", "P(stroma)", "Detection score"):
        assert f'"{title}"' in text


def test_frames_call_columns_what_is_declared(cells: Cells) -> None:
    pytest.importorskip("pandas")
    assert {column.name for column in COLUMNS if column.holds == "number"} <= set(to_pandas(cells).columns)
