"""Cells as tables for notebooks."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from histocyte.core.cells import Cells
from histocyte.core.errors import MissingExtraError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import Taxonomy


@pytest.fixture
def three() -> Cells:
    squares = np.array([[0, 0], [0, 4], [4, 4], [4, 0]], float)
    return Cells(
        xy=np.array([[2, 2], [12, 2], [22, 2]], float),
        contour_xy=np.concatenate([squares + (10 * i, 0) for i in range(3)]),
        contour_offsets=np.array([0, 4, 8, 12]),
        area_um2=np.array([1, 2, 4], np.float32),
        probabilities=np.array([[0, 0, 1, 0], [0.75, 0, 0.25, 0], [0, 0, 0.5, 0]], np.float32),
        scores=np.array([0.5, 0.75, 1], np.float32),
        taxonomy=CONSEP,
        mpp=0.25,
    )


def test_pandas_has_a_row_a_cell(three: Cells) -> None:
    pytest.importorskip("pandas")
    table = three.to_pandas()
    assert list(table.columns[:6]) == ["x", "y", "area_um2", "class", "class_prob", "score"]
    assert list(table["class"]) == ["epithelial", "other", "epithelial"]
    assert list(table["class"].cat.categories) == list(CONSEP.names)
    assert table["probability: epithelial"].tolist() == [1, 0.25, 0.5]
    assert table["area_um2"].tolist() == [1, 2, 4]
    assert table.index.name == "id"
    assert len(Cells.empty(CONSEP, 0.25).to_pandas()) == 0
    bare = replace(three, probabilities=np.zeros((3, 0), np.float32), taxonomy=Taxonomy("none", ()))
    assert list(bare.to_pandas()["class"]) == ["cell"] * 3


def test_geopandas_has_outlines(three: Cells) -> None:
    pytest.importorskip("geopandas")
    table = three.to_geopandas()
    assert table.geometry.area.tolist() == [16, 16, 16]
    assert table.geometry.bounds.iloc[1].tolist() == [10, 0, 14, 4]
    assert table.crs is None
    assert len(Cells.empty(CONSEP, 0.25).to_geopandas()) == 0


@pytest.mark.parametrize("way", ["to_pandas", "to_geopandas"])
def test_what_is_missing_is_named_by_its_extra(three: Cells, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(MissingExtraError, match=r"\[pandas\]"):
        getattr(three, way)()
