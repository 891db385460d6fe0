from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from histocyte.core.errors import InputError
from histocyte.formats.geojson.regions import read_roi
from histocyte.slides.array_reader import open_array
from histocyte.slides.region import Region

SLIDE = open_array(np.zeros((200, 300, 3), np.uint8), mpp=0.5, name="case7")
RING = shapely.Polygon(shapely.box(10, 20, 110, 120).exterior, [shapely.box(40, 50, 60, 70).exterior])


def _write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def _feature(geometry: shapely.Geometry, **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    region = Region((RING, shapely.box(150, 10, 160, 20)), ("tumour", "stroma"))
    again, _ = read_roi(_write(tmp_path / "roi.geojson", region.to_geojson()), SLIDE)
    assert again.names == region.names
    assert all(a.equals(b) for a, b in zip(again.parts, region.parts, strict=True))


@pytest.mark.parametrize("shape", ["collection", "list", "feature", "geometry", "gzip"])
def test_every_shape_of_geojson(tmp_path: Path, shape: str) -> None:
    feature = _feature(RING, name="A")
    data = {
        "collection": {"type": "FeatureCollection", "features": [feature]},
        "list": [feature],
        "feature": feature,
        "geometry": feature["geometry"],
        "gzip": [feature],
    }[shape]
    path = _write(tmp_path / "roi.geojson", data)
    if shape == "gzip":
        path.write_bytes(gzip.compress(path.read_bytes()))
    region, _ = read_roi(path, SLIDE)
    assert region.geometry.equals(RING)
    assert region.names == (("region 1",) if shape == "geometry" else ("A",))


def test_a_packed_file_with_a_fault_in_its_middle_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(json.dumps([_feature(RING)] * 99).encode()))
    content[12:40] = bytes(28)
    (tmp_path / "roi.geojson.gz").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_roi(tmp_path / "roi.geojson.gz", SLIDE)


def test_properties_that_are_no_object_name_nothing(tmp_path: Path) -> None:
    feature = {**_feature(RING), "properties": [1]}
    assert read_roi(_write(tmp_path / "roi.geojson", feature), SLIDE)[0].names == ("region 1",)


def test_names_points_and_damaged_rings(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    features = [
        _feature(shapely.Point(3, 3), name="a point"),
        _feature(shapely.box(0, 0, 5, 5), classification={"name": "Tumor", "color": [1, 2, 3]}),
        _feature(shapely.MultiPolygon([shapely.box(20, 0, 25, 5), shapely.box(30, 0, 35, 5)]), name="B"),
        _feature(bow_tie),
        _feature(shapely.box(290, 190, 400, 400), name="over the edge"),
        _feature(shapely.box(1000, 0, 1001, 5), name="outside"),
    ]
    region, notes = read_roi(_write(tmp_path / "roi.json", features), SLIDE)
    assert region.names == ("Tumor", "B", "region 3", "over the edge")
    assert [part.area for part in region.parts] == [25, 50, 50, 100]
    assert notes == [
        "'roi.json': left out, as they have no area: 1 of 6 objects.",
        "Outside the slide (300 × 200 px), and not searched: 1 of 5 regions, 'outside'.",
        "Over the slide's edge, and searched only where they lie on it: 1 of 5 regions, 'over the edge'.",
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not valid JSON"),
        ('"text"', "FeatureCollection or a list"),
        ('{"type": "FeatureCollection"}', "FeatureCollection or a list"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "holds no polygon"),
        (json.dumps(_feature(shapely.Point(1, 1))), "holds no polygon"),
        (json.dumps(_feature(shapely.box(900, 900, 999, 999))), r"outside slide case7 \(300 × 200 px\)"),
        (
            '{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[["x", 1]]]}}',
            "feature 1 of 1 is not a list",
        ),
    ],
)
def test_a_bad_file_gets_an_answer(tmp_path: Path, data: str, message: str) -> None:
    (tmp_path / "roi.geojson").write_text(data)
    with pytest.raises(InputError, match=message):
        read_roi(tmp_path / "roi.geojson", SLIDE)


def test_a_missing_file_gets_an_answer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_roi(tmp_path / "roi.geojson", SLIDE)
