from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import shapely

from histocyte.core.geometry import Box
from histocyte.slides.array_reader import open_array
from histocyte.slides.region import Region

SLIDE = open_array(np.zeros((200, 300, 3), np.uint8), mpp=0.5, name="case7")
RING = shapely.Polygon(shapely.box(10, 20, 110, 120).exterior, [shapely.box(40, 50, 60, 70).exterior])


def _write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def _feature(geometry: shapely.Geometry, **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


def test_area_bounds_and_queries() -> None:
    region = Region((RING,), ("ring",))
    assert region.bounds == (10, 20, 110, 120)
    assert region.area_mm2(0.5) == pytest.approx((100 * 100 - 20 * 20) * 0.25 / 1e6)
    points = np.array([[15.0, 25.0], [50.0, 60.0], [10.0, 20.0], [5.0, 5.0]])
    assert region.contains(points).tolist() == [True, False, True, False]
    assert region.intersects(Box(0, 0, 11, 21))
    assert not region.intersects(Box(45, 55, 5, 5))
    assert not region.intersects((0, 0, 9.5, 300))


def test_parts_that_overlap_count_once_and_come_apart() -> None:
    region = Region((shapely.box(0, 0, 10, 10), shapely.box(5, 0, 15, 10)), ("a", "b"))
    assert region.area_mm2(1000.0) == pytest.approx(150)
    parts = dict(region.split())
    assert parts["b"].bounds == (5, 0, 15, 10)
    again = pickle.loads(pickle.dumps(region))
    assert again.names == ("a", "b")
    assert again.geometry.equals(region.geometry)


def test_an_empty_region_holds_nothing() -> None:
    empty = Region((), ())
    assert empty.is_empty
    assert empty.area_mm2(0.5) == 0
    assert empty.bounds == (0, 0, 0, 0)
    assert not empty.intersects(Box(0, 0, 9, 9))
    assert not empty.contains(np.array([[1.0, 1.0]])).any()
    assert empty.to_geojson() == {"type": "FeatureCollection", "features": []}
