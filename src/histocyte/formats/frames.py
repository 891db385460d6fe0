"""Cells as tables of pandas and GeoPandas, for notebooks: a row a cell, in the order and with the names of Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from histocyte.core.cell_columns import COLUMNS
from histocyte.core.cells import Cells
from histocyte.core.errors import require
from histocyte.formats.wkb import closed_rings

if TYPE_CHECKING:
    import geopandas
    import pandas

__all__ = ["to_geopandas", "to_pandas"]


def to_pandas(cells: Cells) -> pandas.DataFrame:
    """The columns of `cells.parquet`, but outlines; probabilities have one column a class.

    Columns: x, y (level-0 px), area_um2, class (a category, in the order of the taxonomy), class_prob, score, and
    "probability: CLASS" for each class. The index is the cell's id.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    pandas = require("pandas", extra="pandas")
    names = list(cells.taxonomy.names) or ["cell"]
    codes = np.maximum(cells.class_index, 0)
    columns: dict[str, Any] = {
        "x": cells.xy[:, 0],
        "y": cells.xy[:, 1],
    }
    for column in COLUMNS:
        if column.name == "class_prob":
            columns["class"] = pandas.Categorical.from_codes(codes, categories=names)
        if column.holds == "number":
            columns[column.name] = getattr(cells, column.attribute)
    columns |= {f"probability: {name}": cells.probabilities[:, i] for i, name in enumerate(cells.taxonomy.names)}
    return pandas.DataFrame(columns, index=pandas.RangeIndex(len(cells), name="id"))


def to_geopandas(cells: Cells) -> geopandas.GeoDataFrame:
    """The columns of `to_pandas`, and outlines as polygons in level-0 px, without a coordinate reference system.

    Raises:
        MissingExtraError: pandas or GeoPandas is not installed.
    """
    geopandas = require("geopandas", extra="pandas")
    points, rings = closed_rings(cells)
    polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (rings, np.arange(len(cells) + 1)))
    return geopandas.GeoDataFrame(to_pandas(cells), geometry=polygons)
