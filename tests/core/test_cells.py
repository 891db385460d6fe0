"""Cells as columns, and their way to files."""

from __future__ import annotations

from pathlib import Path

import pytest

import histocyte as hc
from histocyte.core.cells import CELL_FORMATS, Cells
from histocyte.core.errors import UnknownNameError
from histocyte.core.taxonomy import CONSEP
from histocyte.formats.geojson.cells import read_geojson


@pytest.fixture
def nothing() -> Cells:
    return hc.Cells.empty(CONSEP, 0.25)


def test_every_format_is_there(nothing: Cells, tmp_path: Path) -> None:
    for name in CELL_FORMATS:
        nothing.write(tmp_path / name, name)
        assert (tmp_path / name).stat().st_size > 0


def test_the_two_short_ways(nothing: Cells, tmp_path: Path) -> None:
    nothing.to_geojson(tmp_path / "cells.geojson.gz")
    assert len(read_geojson(tmp_path / "cells.geojson.gz", CONSEP, mpp=0.25)) == 0
    nothing.to_parquet(str(tmp_path / "cells.parquet"))
    assert hc.read_cells(tmp_path / "cells.parquet").taxonomy == CONSEP


def test_an_unknown_format_names_the_known_ones(nothing: Cells, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="geojson"):
        nothing.write(tmp_path / "cells.xyz", "xyz")
