from __future__ import annotations

import gzip
import json
import uuid

import numpy as np
import pytest
import shapely

from histocyte.core.errors import DiskError, InputError, ResolutionError, UnknownNameError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.formats.geojson.cells import GeoJsonWriter, read_geojson, write_geojson


def load(path):
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def check_qupath(data):
    """What QuPath's reader takes as detections."""
    assert data["type"] == "FeatureCollection"
    ids = [feature["id"] for feature in data["features"]]
    assert len(set(ids)) == len(ids)
    for feature in data["features"]:
        assert set(feature) == {"type", "id", "geometry", "properties"}
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert len(ring) >= 4
        assert ring[0] == ring[-1]
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert all(isinstance(value, float) for value in properties["measurements"].values())
        if "classification" in properties:
            assert set(properties["classification"]) == {"name", "color"}
            assert all(0 <= c <= 255 for c in properties["classification"]["color"])


@pytest.mark.parametrize("name", ["cells.geojson", "cells.geojson.gz"])
@pytest.mark.parametrize("n", [0, 1, 40])
def test_every_cell_is_a_detection_for_qupath(tmp_path, cells_of, name, n):
    cells = cells_of(n)
    write_geojson(tmp_path / name, cells)
    data = load(tmp_path / name)
    check_qupath(data)
    assert len(data["features"]) == n
    for i, feature in enumerate(data["features"]):
        ring = np.array(feature["geometry"]["coordinates"][0][:-1])
        np.testing.assert_allclose(ring, cells.contour(i), atol=0.0051)
        kind = CONSEP.classes[cells.class_index[i]]
        assert feature["properties"]["classification"] == {"name": kind.name, "color": list(kind.colour)}
        measurements = feature["properties"]["measurements"]
        assert measurements["Area µm²"] == pytest.approx(float(cells.area_um2[i]), abs=1e-3)
        assert measurements["Class probability"] == pytest.approx(float(cells.class_prob[i]), abs=1e-4)
        assert measurements["Detection score"] == pytest.approx(float(cells.scores[i]), abs=1e-4)
        assert measurements["P(spindle)"] == pytest.approx(float(cells.probabilities[i, 3]), abs=1e-4)
        assert int(feature["id"][-12:], 16) == i


def test_ours_comes_back(tmp_path, cells_of):
    cells = cells_of(100)
    write_geojson(tmp_path / "a.geojson.gz", cells)
    back = read_geojson(tmp_path / "a.geojson.gz", mpp=cells.mpp)
    assert back.taxonomy.classes == CONSEP.classes
    np.testing.assert_array_equal(back.contour_offsets, cells.contour_offsets)
    np.testing.assert_allclose(back.contour_xy, cells.contour_xy, atol=0.0051)
    np.testing.assert_array_equal(back.class_index, cells.class_index)
    np.testing.assert_allclose(back.probabilities, cells.probabilities, atol=1e-4)
    np.testing.assert_allclose(back.area_um2, cells.area_um2, atol=1e-3)
    np.testing.assert_allclose(back.scores, cells.scores, atol=1e-4)
    centroids = shapely.get_coordinates([shapely.Polygon(cells.contour(i)).centroid for i in range(100)])
    np.testing.assert_allclose(back.xy, centroids, atol=0.02)
    assert read_geojson(tmp_path / "a.geojson.gz", CONSEP, mpp=0.25).taxonomy is CONSEP


@pytest.mark.parametrize("n", [0, 7])
def test_cells_without_classes(tmp_path, cells_of, classless, n):
    write_geojson(tmp_path / "a.geojson", cells_of(n, taxonomy=classless))
    data = load(tmp_path / "a.geojson")
    check_qupath(data)
    assert all("classification" not in feature["properties"] for feature in data["features"])
    back = read_geojson(tmp_path / "a.geojson", mpp=0.25)
    assert len(back) == n
    assert back.probabilities.shape == (n, 0)


def test_streaming_changes_nothing_and_the_bytes_are_the_same_every_time(tmp_path, cells_of):
    cells = cells_of(100)
    write_geojson(tmp_path / "a.geojson.gz", cells, seed="slide")
    with GeoJsonWriter(tmp_path / "b.geojson.gz", CONSEP, seed="slide") as writer:
        for rows in np.split(np.arange(100), [1, 1, 40]):
            writer.write(cells.take(rows))
    assert load(tmp_path / "a.geojson.gz") == load(tmp_path / "b.geojson.gz")
    write_geojson(tmp_path / "c.geojson.gz", cells, seed="slide")
    assert (tmp_path / "a.geojson.gz").read_bytes() == (tmp_path / "c.geojson.gz").read_bytes()
    write_geojson(tmp_path / "d.geojson.gz", cells, seed="another")
    first, other = (load(tmp_path / name)["features"][0]["id"] for name in ("a.geojson.gz", "d.geojson.gz"))
    assert first != other


def test_a_class_corrected_in_qupath_counts(tmp_path, cells_of):
    write_geojson(tmp_path / "a.geojson", cells_of(5))
    data = load(tmp_path / "a.geojson")
    data["features"][2]["properties"]["classification"] = {"name": "mitosis", "color": [1, 2, 3]}
    (tmp_path / "a.geojson").write_text(json.dumps(data["features"]))  # QuPath can also write a bare list
    back = read_geojson(tmp_path / "a.geojson", mpp=0.25)
    assert back.taxonomy.classes[-1] == CellClass("mitosis", (1, 2, 3))
    assert back.class_names[2] == "mitosis"
    assert back.class_prob[2] == 1
    with pytest.raises(UnknownNameError, match="mitosis.*epithelial"):
        read_geojson(tmp_path / "a.geojson", CONSEP, mpp=0.25)


def test_plain_polygons_of_others_are_read(tmp_path):
    square = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]}
    inner = {"type": "Polygon", "coordinates": [[[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]]}
    named = {"classification": {"names": ["Tumour", "Positive"], "color": [9, 8, 7]}}
    cell = {"type": "Feature", "geometry": square, "nucleusGeometry": inner, "properties": named}
    bare = {"type": "Feature", "geometry": square, "properties": None}
    (tmp_path / "a.geojson").write_text(json.dumps([cell, bare]))
    cells = read_geojson(tmp_path / "a.geojson", mpp=0.5)
    assert cells.area_um2.tolist() == [1.0, 4.0]
    assert cells.xy.tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert cells.taxonomy == Taxonomy("geojson", (CellClass("Tumour: Positive", (9, 8, 7)),))
    assert cells.probabilities.tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    "content",
    ["", "{", '{"a": 1}', "[1]", '[{"geometry": null}]', '[{"geometry": {"type": "Point", "coordinates": [1, 2]}}]'],
)
def test_what_is_no_cells_is_refused(tmp_path, content):
    (tmp_path / "a.geojson").write_text(content)
    with pytest.raises(InputError, match=r"a\.geojson"):
        read_geojson(tmp_path / "a.geojson", mpp=0.25)


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_geojson(tmp_path / "none.geojson", mpp=0.25)
    with pytest.raises(ResolutionError):
        read_geojson(tmp_path / "none.geojson", mpp=40)
    (tmp_path / "a.geojson.gz").write_text("not gzip")
    with pytest.raises(InputError, match="not valid JSON"):
        read_geojson(tmp_path / "a.geojson.gz", mpp=0.25)


@pytest.mark.parametrize("name", ["cells.geojson", "cells.geojson.gz"])
def test_a_full_disk_leaves_no_file(tmp_path, cells_of, small_disk, name):
    with small_disk(), pytest.raises(DiskError, match=r"cells\.geojson.*File too large"):
        write_geojson(tmp_path / name, cells_of(5000))
    assert not list(tmp_path.iterdir())
