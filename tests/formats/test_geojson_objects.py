"""Cells and regions of one file, whichever program and version wrote it, are the same ones to every command."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histocyte.core.errors import HistocyteError, InputError
from histocyte.counts.input import read_located
from histocyte.formats.foreign.open import open_cells
from histocyte.formats.geojson.cells import read_geojson
from histocyte.formats.geojson.regions import read_polygons
from histocyte.testing.mutations import mutated_json

CORNERS = [(20, 20), (50, 20), (80, 20), (20, 50), (50, 50), (80, 50)]
CLASSES = ["Tumor", "Stroma", "Tumor", "Stroma", "Tumor", "Stroma"]


def ring(x: float, y: float, side: float = 10, *, closed: bool = True) -> list[list[float]]:
    points = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
    return points + points[:1] * closed


def polygon(x: float, y: float, side: float = 10, *, closed: bool = True) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [ring(x, y, side, closed=closed)]}


def feature(geometry: object, properties: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties or {}, **more}


def six(properties: dict[str, Any] | None = None, *, closed: bool = True, **more: object) -> list[dict[str, Any]]:
    """Six squares, of classes as QuPath states them unless the properties say otherwise."""
    return [
        feature(
            polygon(*corner, closed=closed),
            {"classification": {"name": name, "color": [1, 2, 3]}} | (properties or {}),
            **more,
        )
        for corner, name in zip(CORNERS, CLASSES, strict=True)
    ]


DETECTION, ANNOTATION = {"objectType": "detection"}, {"objectType": "annotation"}
BIG = polygon(0, 0, 250)
LINE = {"type": "LineString", "coordinates": [[1, 1], [9, 9]]}

SAME_SIX: dict[str, Any] = {
    "detections": six(DETECTION),
    "cells": six({"objectType": "cell"}),
    "collection": {"type": "FeatureCollection", "features": six(DETECTION)},
    "collection without a type": {"features": six(DETECTION)},
    "nested": [{"type": "FeatureCollection", "features": six(DETECTION)[:4]}, six(DETECTION)[4:]],
    "unclosed rings": six(DETECTION, closed=False),
    "third coordinate": json.loads(json.dumps(six(DETECTION)).replace("20, 20]", "20, 20, 0]")),
    "measurements that are no number": six(DETECTION | {"measurements": {"Area": 1.0, "OD": float("nan")}}),
    "measurements as text": six(DETECTION | {"measurements": {"Area": "NaN", "OD": None, "P": "x"}}),
    "measurements of old": six(DETECTION | {"measurements": [{"name": "OD", "value": float("nan")}, {"name": "A"}, 1]}),
    "QuPath 0.2 annotation and detections": [feature(BIG, id="PathAnnotationObject"), *six(id="PathDetectionObject")],
    "QuPath 0.2 cells": [feature(BIG, id="PathAnnotationObject"), *six(id="PathCellObject")],
    "old cell detections": [feature(BIG, id="PathAnnotationObject"), *six(id="PathCellDetection")],
    "QuPath 0.3": [feature(BIG, {"object_type": "annotation"}), *six({"object_type": "detection"})],
    "type": [feature(BIG, {"type": "annotation"}), *six({"type": "detection"})],
    "all objects": [
        feature(None, {"objectType": "root"}),
        feature(BIG, ANNOTATION),
        feature(BIG, {"objectType": "tile"}),
        feature(BIG, {"objectType": "tmaCore"}),
        feature(LINE, ANNOTATION),
        *six(DETECTION),
    ],
    "cells with spots in them": [
        *six({"objectType": "cell"}),
        feature(polygon(22, 22, 2), DETECTION | {"classification": {"name": "Subcellular spot: DAB object"}}),
        feature(polygon(52, 22, 3), DETECTION | {"classification": {"names": ["Subcellular cluster", "DAB object"]}}),
    ],
    "children": feature(BIG, ANNOTATION | {"childObjects": six(DETECTION)}),
    "annotations": six(ANNOTATION),
    "annotations and a tile": [feature(BIG, {"objectType": "tile"}), *six(ANNOTATION)],
    "annotations and a TMA core": [feature(BIG, {"objectType": "tma_core"}), *six(ANNOTATION)],
    "annotations and the core of QuPath 0.2": [feature(BIG, id="TMACoreObject"), *six(ANNOTATION)],
    "annotations and a line": [*six(ANNOTATION), feature(LINE, ANNOTATION), feature(None, ANNOTATION)],
    "no kind": six(),
    "an id that is no kind": six(id=7),
    "a MultiPolygon a class": [
        feature(
            {
                "type": "MultiPolygon",
                "coordinates": [[ring(*c)] for c, of in zip(CORNERS, CLASSES, strict=True) if of == name],
            },
            ANNOTATION | {"classification": name},
        )
        for name in ("Tumor", "Stroma")
    ],
    "class as text": [
        feature(polygon(*c), DETECTION | {"classification": name}) for c, name in zip(CORNERS, CLASSES, strict=True)
    ],
    "class as a list of names": [
        feature(polygon(*c), DETECTION | {"classification": {"names": [n]}})
        for c, n in zip(CORNERS, CLASSES, strict=True)
    ],
}


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def found(path: Path) -> dict[tuple[float, float], str | None]:
    """Centre and class of each cell, which have to be the same to `counts`, to `score` and in Python."""
    located = read_located(path, mpp=0.25)
    names = [None if k < 0 else located.class_names[k] for k in located.kinds]
    counted = dict(zip(map(tuple, located.xy.tolist()), names, strict=True))
    assert len(counted) == len(located.xy)
    scored = open_cells(path)
    drawn = scored.shapes.draw((300, 300)).labels
    centres = [
        tuple((np.argwhere(drawn == i + 1).mean(axis=0)[::-1] + 0.5).tolist()) for i in range(len(scored.shapes))
    ]
    assert dict(zip(centres, [scored.class_names.get(t) for t in scored.types], strict=True)) == counted
    cells = read_geojson(path, mpp=0.25)
    assert set(map(tuple, cells.xy.tolist())) == set(counted)
    return counted


@pytest.mark.parametrize("name", SAME_SIX)
def test_the_same_six_cells_whatever_wrote_them(tmp_path: Path, name: str) -> None:
    expected = {(x + 5.0, y + 5.0): of for (x, y), of in zip(CORNERS, CLASSES, strict=True)}
    assert found(write(tmp_path / "x.geojson", SAME_SIX[name])) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_any_encoding_of_text(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.geojson").write_text(json.dumps(six(DETECTION)), encoding=encoding)
    assert len(found(tmp_path / "x.geojson")) == 6


@pytest.mark.parametrize(
    "data", [[], {"type": "FeatureCollection", "features": []}, [feature(BIG, {"objectType": "tile"})]]
)
def test_no_cells_are_no_fault(tmp_path: Path, data: object) -> None:
    assert found(write(tmp_path / "x.geojson", data)) == {}


def test_one_feature_or_geometry_is_one_cell(tmp_path: Path) -> None:
    for data in (six(DETECTION)[0], polygon(20, 20)):
        assert list(found(write(tmp_path / "x.geojson", data))) == [(25.0, 25.0)]


def test_what_was_left_out_is_said_wherever_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.geojson", SAME_SIX["all objects"])
    said = ("'x.geojson': left out, being no cells: 2 annotations, 1 tile, 1 TMA core.",)
    assert read_located(path, mpp=1).notes == open_cells(path).notes == said
    path = write(tmp_path / "x.geojson", SAME_SIX["annotations and a line"])
    drawn, line = open_cells(path).notes
    assert "has no detections" in drawn
    assert "(number 7, 8)" in line
    assert open_cells(write(path, six())).notes == ()


def test_points_are_counted_and_cannot_be_scored(tmp_path: Path) -> None:
    several = {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}
    path = write(
        tmp_path / "x.geojson", [feature(several, ANNOTATION | {"classification": "a"}), feature(LINE, ANNOTATION)]
    )
    located = read_located(path, mpp=1)
    assert located.xy.tolist() == [[1, 2], [3, 4]]
    assert located.kinds.tolist() == [0, 0]
    assert "(number 2)" in located.notes[-1]
    with pytest.raises(InputError, match=r"feature 1 of 2 is a MultiPoint \(also number 2\).*a Polygon"):
        open_cells(path)
    mixed = write(path, [*six(DETECTION), feature({"type": "Point", "coordinates": [1, 2]}, DETECTION)])
    assert len(read_located(mixed, mpp=1).xy) == 7
    with pytest.raises(InputError, match="feature 7 of 7 is a Point;"):
        open_cells(mixed)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (feature(None, DETECTION), "has no geometry"),
        (feature({"type": "Polygon", "coordinates": []}, DETECTION), "is an empty Polygon"),
        (feature(LINE, DETECTION), "is a LineString"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}, DETECTION), "not a list of"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5]]]}, DETECTION), "not a list of"),
        (feature({"type": "Polygon", "coordinates": [[["a", 2], [3, 4], [5, 6]]]}, DETECTION), "not a list of"),
        (feature({"type": "Polygon", "coordinates": [[[1, None], [3, 4], [5, 6]]]}, DETECTION), "not a number"),
        (feature({"type": "Polygon", "coordinates": [[[1, float("nan")], [3, 4], [5, 6]]]}, DETECTION), "not a number"),
        (feature({"type": "Polygon", "coordinates": [[[1, 1e300], [3, 4], [5, 6]]]}, DETECTION), "leaves"),
        (feature({"type": "Polygon", "coordinates": 3}, DETECTION), "cannot be read"),
        (feature({"type": "GeometryCollection", "geometries": [1]}, DETECTION), "cannot be read"),
    ],
)
def test_a_broken_feature_is_named_by_its_place_in_the_file(tmp_path: Path, broken: object, says: str) -> None:
    # The annotation before the cells is not a cell and counts in the file all the same.
    path = write(tmp_path / "x.geojson", [feature(BIG, ANNOTATION), *six(DETECTION)[:2], broken, *six(DETECTION)[2:]])
    for read in (lambda p: read_located(p, mpp=1), open_cells, lambda p: read_geojson(p, mpp=1)):
        with pytest.raises(InputError, match=rf"feature 4 of 8\b.*{says}|{says}.*feature 4 of 8\b"):
            read(path)


@pytest.mark.parametrize(
    "data", [[*six(DETECTION), 7], "text", {"type": "FeatureCollection"}, [[["x"]]], {"features": {}}]
)
def test_what_is_no_geojson_is_refused_by_all(tmp_path: Path, data: object) -> None:
    path = write(tmp_path / "x.geojson", data)
    for read in (lambda p: read_located(p, mpp=1), open_cells, lambda p: read_geojson(p, mpp=1), read_polygons):
        with pytest.raises(InputError):
            read(path)


def areas(path: Path) -> dict[str, float]:
    region, _ = read_polygons(path)
    return dict(zip(region.names, (part.area for part in region.parts), strict=True))


def test_regions_are_what_was_drawn_and_not_the_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.geojson"
    one = feature(BIG, ANNOTATION | {"name": "ROI"})
    assert areas(write(path, [one, *six(DETECTION)])) == {"ROI": 62500}
    assert read_polygons(path)[1] == ["'x.geojson': left out, being no regions: 6 cells."]
    assert areas(write(path, SAME_SIX["QuPath 0.2 annotation and detections"])) == {"region 1": 62500}
    core, tile = (
        feature(BIG, {"objectType": "tmaCore", "name": "A-1"}),
        feature(BIG, {"objectType": "tile", "name": "t"}),
    )
    gone = feature(BIG, {"objectType": "tmaCore", "name": "A-2", "isMissing": True})
    assert areas(write(path, [core, gone, tile, *six(DETECTION)])) == {"A-1": 62500}
    assert areas(write(path, [tile, *six(DETECTION)])) == {"t": 62500}
    assert "holds tiles and no annotations" in read_polygons(path)[1][-1]


def test_a_file_of_cells_alone_is_a_region_each_and_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "x.geojson", six(DETECTION))
    region, (note,) = read_polygons(path)
    assert [part.area for part in region.parts] == [100] * 6
    assert region.names == tuple(CLASSES)
    assert "holds detections and no annotations" in note


def test_regions_with_open_or_crossing_rings_holes_and_pieces(tmp_path: Path) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
    ringed = {"type": "Polygon", "coordinates": [ring(0, 0, 20, closed=False), ring(5, 5, 2)]}
    both = {"type": "GeometryCollection", "geometries": [LINE, polygon(0, 0, 3), polygon(50, 0, 4)]}
    two_points = {"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [0, 0]]]}
    path = write(tmp_path / "x.geojson", [feature(g) for g in (bow_tie, ringed, both, two_points, LINE, None)])
    region, notes = read_polygons(path)
    assert [part.area for part in region.parts] == pytest.approx([50, 396, 25])
    assert notes == ["'x.geojson': left out, as they have no area: 3 of 6 objects."]


def test_a_broken_region_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    broken = feature({"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}, ANNOTATION)
    path = write(tmp_path / "x.geojson", [*six(DETECTION), feature(BIG, ANNOTATION), broken])
    with pytest.raises(InputError, match="feature 8 of 8"):
        read_polygons(path)


def test_a_file_that_counts_from_another_corner_is_shifted_once(tmp_path: Path) -> None:
    region, _ = read_polygons(write(tmp_path / "x.geojson", [feature(BIG)]), origin=(1000, 700))
    assert region.parts[0].bounds == (1000, 700, 1250, 950)


def test_an_outline_that_crosses_itself_has_its_centre_within(tmp_path: Path) -> None:
    loops = [[0, 0], [10, 10], [10, 0], [0, 10.1], [0, 0]]
    path = write(tmp_path / "x.geojson", [feature({"type": "Polygon", "coordinates": [loops]}, DETECTION)])
    assert read_located(path, mpp=1).xy[0] == pytest.approx([5, 5], abs=0.1)


def test_names_with_half_a_character_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "x.geojson").write_text(json.dumps([feature(BIG, {"name": "a\ud800", "classification": "b\udfff"})]))
    assert read_polygons(tmp_path / "x.geojson")[0].names == ("a?",)
    assert read_located(tmp_path / "x.geojson", mpp=1).class_names == ("b?",)


def test_a_file_that_nests_without_end_is_refused_and_deep_ones_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.geojson").write_text("[" * 900 + json.dumps(six(DETECTION)) + "]" * 900)
    assert len(found(tmp_path / "x.geojson")) == 6
    (tmp_path / "x.geojson").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(InputError, match="not valid JSON"):
        open_cells(tmp_path / "x.geojson")


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_file_holds_is_an_answer_in_one_line_and_the_same_one_everywhere(tmp_path: Path, seed: int) -> None:
    draw, path, read = random.Random(seed), tmp_path / "x.geojson", 0
    said: list[str] = []
    for _ in range(60):
        write(path, mutated_json(draw.choice(list(SAME_SIX.values())), draw))
        numbers = []
        for count in (
            lambda: len(open_cells(path).shapes),
            lambda: len(read_located(path, mpp=1).xy),
            lambda: len(read_geojson(path, mpp=1)),
            lambda: len(read_polygons(path)[0].parts) * 0,
        ):
            try:
                numbers.append(count())
            except HistocyteError as error:
                said.append(str(error))
                numbers.append(None)
        scored, counted, cells, _ = numbers
        read += scored is not None
        assert counted == scored or scored is None
        assert cells in (None, scored)
    assert 5 < read < 60
    assert not any("\n" in text for text in said)
