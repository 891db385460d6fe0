"""Cells as columns, and their way to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import histocyte as hc
from histocyte.core.cells import CELL_FORMATS, Cells
from histocyte.core.errors import UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import CellClass, Taxonomy
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


def test_cells_print_as_a_summary(nothing: Cells) -> None:
    assert str(nothing) == ("<Cells: 0, 0 other, 0 inflammatory, 0 epithelial, 0 spindle; slide at 0.25 µm/px>")
    some = Cells(
        np.zeros((1500, 2)),
        np.tile([[0, 0], [0, 1], [1, 1.0]], (1500, 1)),
        np.arange(0, 4501, 3),
        np.linspace(10, 30, 1500, dtype=np.float32),
        np.eye(4, dtype=np.float32)[np.arange(1500) % 3],
        np.ones(1500, np.float32),
        CONSEP,
        0.5,
    )
    assert repr(some) == (
        "<Cells: 1,500, 500 other, 500 inflammatory, 500 epithelial, 0 spindle; median area 20.0 µm²; "
        "slide at 0.5 µm/px>"
    )
    page = some._repr_html_()
    assert page.count("<tr>") == 5
    assert "<td>500<td>33.3%" in page
    assert "spindle<td>0<td>0.0%<td>–<td>–" in page


def test_classes_are_no_markup_in_a_notebook_or_a_terminal(nothing: Cells) -> None:
    nasty = Taxonomy("x", (CellClass("<script>alert(1)</script>\x1b[31m", (1, 2, 3)),))
    cells = Cells.empty(nasty, 0.25)
    assert "<script>" not in cells._repr_html_()
    assert "\x1b" not in repr(cells) + cells._repr_html_()


def test_cells_without_classes_print_too() -> None:
    bare = Cells.empty(Taxonomy("none", ()), 0.25)
    assert repr(bare) == "<Cells: 0, 0 cell; slide at 0.25 µm/px>"
    assert "cell<td>0" in bare._repr_html_()
