"""Files of cells by other programs, written here by hand, and histocyte's own."""

from __future__ import annotations

import gc
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from histocyte.core.cells import Cells
from histocyte.core.errors import InputError
from histocyte.core.labels import instance_statistics
from histocyte.core.outlines import trace_outlines
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.counts.input import read_located
from histocyte.formats.foreign.contours import Contours
from histocyte.formats.foreign.open import find_cells, open_cells
from histocyte.formats.foreign.polygons import Polygons, fill_polygons, fill_polygons_plain
from histocyte.formats.geoparquet import read_cells
from histocyte.formats.json_file import load_json

LABELS = np.zeros((40, 50), np.int32)
LABELS[2:10, 3:12], LABELS[10:20, 3:9], LABELS[30:40, 45:50] = 1, 2, 3
TYPES = (2, 0, 1)
PROBABILITIES = np.array([[0.25, 0.75], [0, 0], [1, 0]], np.float32)


def cells(labels: np.ndarray = LABELS, probabilities: np.ndarray | None = PROBABILITIES) -> Cells:
    points, offsets = trace_outlines(labels)
    area, centre = instance_statistics(labels)
    names = () if probabilities is None else ("a", "b")
    taxonomy = Taxonomy("ab", tuple(CellClass(n, (9, 9, 9)) for n in names))
    probabilities = np.zeros((len(area), 0), np.float32) if probabilities is None else probabilities
    scores = np.full(len(area), 0.5, np.float32)
    return Cells(centre, points, offsets, area.astype(np.float32), probabilities, scores, taxonomy, 0.5)


def contours() -> list[list[list[int]]]:
    traced = []
    for i in range(1, 4):
        found, _ = cv2.findContours((i == LABELS).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        traced.append(found[0][:, 0].tolist())
    return traced


def by_contour() -> list[dict[str, object]]:
    return [{"contour": c, "type": t or None, "type_prob": 0.5} for c, t in zip(contours(), TYPES, strict=True)]


def feature(rings: list[object], name: str | None = None, kind: str = "Polygon", of: str = "detection") -> dict:
    classification = {} if name is None else {"classification": {"name": name}}
    geometry = {"type": kind, "coordinates": rings}
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": of, **classification}}


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def geojson(path: Path, *features: object) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def write(name: str, folder: Path) -> Path:
    """The labels in one of the formats; classes 'a' and 'b' are codes 1 and 2."""
    path = folder / {"geojson": "x.geojson.gz", "parquet": "cells.parquet"}.get(name, name)
    spread = np.where(LABELS == 2, 70_000, LABELS * 7)
    types = np.array([0, 2, 0, 1])
    if name == "hovernet.json":
        path.write_text(json.dumps({"mag": 40, "nuc": {str(i): c for i, c in enumerate(by_contour(), 1)}}))
    elif name == "cellvit.json":
        path.write_text(json.dumps({"type_map": {"1": "a", "2": "b"}, "cells": by_contour()}))
    elif name in ("geojson", "parquet"):
        cells().write(path, name)
    elif name == "x.png":
        cv2.imwrite(str(path), (LABELS * 300).astype(np.uint16))
    elif name == "x.tif":
        tifffile.imwrite(path, spread.astype(np.uint32))
    elif name == "x.npy":
        np.save(path, LABELS.astype(np.float32))
    elif name == "x.npz":
        np.savez(path, inst=LABELS.astype(np.int64), type=types)
    elif name == "uid.mat":
        order = np.array([3, 1, 2])
        savemat(
            path, {"inst_map": LABELS.astype(float), "inst_uid": order[:, None], "inst_type": types[order][:, None]}
        )
    elif name == "order.mat":
        savemat(path, {"inst_map": LABELS, "inst_type": types[1:][:, None]})
    else:
        savemat(path, {"inst_map": LABELS, "type_map": types[LABELS]})
    return path


PLAIN = ("x.png", "x.tif", "x.npy")
FORMATS = ("hovernet.json", "cellvit.json", "geojson", "parquet", "x.npz", "uid.mat", "order.mat", "map.mat", *PLAIN)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_labels_back(tmp_path: Path, name: str) -> None:
    read = open_cells(write(name, tmp_path))
    ids = [1, 3, 2] if name == "x.tif" else [1, 2, 3]  # in ascending order of the file's
    drawn = read.shapes.draw(LABELS.shape)
    np.testing.assert_array_equal(np.array([0, *ids])[drawn.labels], LABELS)
    assert not len(drawn.hidden)
    assert not len(drawn.outside)
    crop = read.shapes.draw((20, 10), (3, 2))
    np.testing.assert_array_equal(np.array([0, *ids])[crop.labels], LABELS[2:22, 3:13])
    assert crop.outside.tolist() == [ids.index(3)]
    if name not in PLAIN:
        # Of a model with classes each cell has one: without any probability it is the first.
        assert read.types.tolist() == ([2, 1, 1] if name in ("geojson", "parquet") else list(TYPES))
    named = name in ("cellvit.json", "geojson", "parquet")
    assert read.class_names == ({1: "a", 2: "b"} if named else {})
    if name in ("geojson", "parquet"):
        np.testing.assert_array_equal(read.probabilities, PROBABILITIES)
        assert read.scores.tolist() == [0.5] * 3
        assert read.mpp == (0.5 if name == "parquet" else None)


def test_cells_of_a_model_without_classes_have_none(tmp_path: Path) -> None:
    for name, path in (("geojson", tmp_path / "c.geojson"), ("parquet", tmp_path / "c.parquet")):
        cells(probabilities=None).write(path, name)
        read = open_cells(path)
        assert (read.types.tolist(), read.class_names, read.probabilities) == ([0, 0, 0], {}, None)


def test_codes_are_named_by_classes_json(tmp_path: Path) -> None:
    path = write("x.npz", tmp_path)
    (tmp_path / "classes.json").write_text('{"1": "one", "2": "two"}')
    assert open_cells(path).class_names == {1: "one", 2: "two"}
    assert open_cells(path, names={1: "eins"}).class_names == {1: "eins"}
    (tmp_path / "classes.json").write_text('["one"]')
    with pytest.raises(InputError, match="not a list of classes"):
        open_cells(path)


def test_a_small_cell_on_a_large_one_stays_and_of_equals_the_first_and_the_others_are_told() -> None:
    for kind in (Contours, Polygons):
        large, small = square(0, 0, 9 + (kind is Polygons)), square(3, 3, 2 + (kind is Polygons))
        for outlines in ([large, small, small], [small, small, large]):
            if kind is Contours:
                drawn = Contours(tuple(np.array(o, np.int32) for o in outlines)).draw((12, 12))
            else:
                drawn = Polygons(np.concatenate(outlines).astype(float), np.arange(0, 16, 5), np.arange(4)).draw(
                    (12, 12)
                )
            counts = np.bincount(drawn.labels.ravel(), minlength=4)[1:]
            first = outlines.index(small)
            assert counts[first] == 9
            assert counts[outlines.index(large)] == 91
            assert drawn.hidden.tolist() == [first + 1]


def test_what_shows_nowhere_is_hidden_within_the_window_and_outside_beyond() -> None:
    sliver, beyond, corner = square(5.6, 5.6, 0.2), square(30, 0, 3), [[11, -3], [15, 1], [15, -3]]
    points = np.concatenate([sliver, beyond, corner])
    drawn = Polygons(points.astype(float), np.array([0, 5, 10, 13]), np.arange(4)).draw((12, 12))
    assert (drawn.hidden.tolist(), drawn.outside.tolist()) == ([0], [1, 2])
    drawn = Contours(tuple(np.array(o, np.int32) for o in (beyond, corner))).draw((12, 12))
    assert (drawn.hidden.tolist(), drawn.outside.tolist()) == ([], [0, 1])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_filling_agrees_with_asking_every_pixel(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rings = rng.integers(1, 4, 5)  # of each cell
    sizes = rng.integers(3, 9, rings.sum())
    points = rng.uniform(-4, 24, (sizes.sum(), 2))
    points = np.round(points * 2) / 2 if data.draw(st.booleans()) else points  # corners on pixels' centres
    ends, cells_ = np.concatenate([[0], np.cumsum(sizes)]), np.concatenate([[0], np.cumsum(rings)])
    order, origin = rng.permutation(5), tuple(map(int, rng.integers(-3, 4, 2)))
    maps, own = [np.zeros((20, 17), np.int32) for _ in range(2)], []
    for labels, fill in zip(maps, (fill_polygons, fill_polygons_plain), strict=True):
        own.append(fill(points, ends, cells_, order, labels, origin))
    np.testing.assert_array_equal(*maps)
    np.testing.assert_array_equal(*own)


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none(tmp_path: Path) -> None:
    left, right = (
        [[1.0, 1.5], [4.5, 1.5], [6.3, 9.5], [1.0, 9.5], [1.0, 1.5]],
        [[4.5, 1.5], [9, 1.5], [9, 9.5], [6.3, 9.5]],
    )
    labels = open_cells(geojson(tmp_path / "x.geojson", feature([left]), feature([right]))).shapes.draw((11, 11)).labels
    assert (labels[1:9, 1:9] > 0).all()
    assert (labels > 0).sum() == 64


def test_pieces_and_holes_and_regions_of_geojson(tmp_path: Path) -> None:
    pieces = [[square(0, 0, 3)], [square(5, 0, 4), square(6, 1, 2)]]
    path = geojson(
        tmp_path / "x.json",
        feature(pieces, "a", "MultiPolygon"),
        {**feature([square(0, 0, 9)], "b"), "nucleusGeometry": {"type": "Polygon", "coordinates": [square(4, 5, 2)]}},
        feature([square(0, 0, 20)], "Tumour", of="annotation"),
    )
    read = open_cells(path)
    assert np.bincount(read.shapes.draw((20, 20)).labels.ravel())[1:].tolist() == [9 + 16 - 4, 4]
    assert [read.class_names[t] for t in read.types] == ["a", "b"]
    drawn_by_hand = open_cells(geojson(path, feature(pieces, "a", "MultiPolygon", of="annotation")))
    assert np.bincount(drawn_by_hand.shapes.draw((20, 20)).labels.ravel())[1:].tolist() == [9, 12]
    assert drawn_by_hand.types.tolist() == [1, 1]
    assert len(open_cells(geojson(path)).shapes) == 0


def test_a_probability_measured_by_qupath_of_old_is_read(tmp_path: Path) -> None:
    one = feature([square(0, 0, 3)])
    one["properties"] |= {
        "measurements": [{"name": "Class probability", "value": 0.25}],
        "classification": {"names": ["Tumour", "Positive"]},
    }
    read = open_cells(geojson(tmp_path / "x.geojson", one, feature([square(4, 0, 3)])))
    assert read.type_prob.tolist() == [0.25, 1]
    assert (read.types.tolist(), read.class_names) == ([1, 0], {1: "Tumour: Positive"})


def test_a_folder_is_read_by_name_and_labels_go_before_pictures(tmp_path: Path) -> None:
    for name in ("a.npz", "a.png", "b.geojson.gz", "b.json", "c.d.png", "a.webp", "classes.json", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "cells.parquet").touch()
    names = {name: path.relative_to(tmp_path).as_posix() for name, path in find_cells(tmp_path).items()}
    assert names == {"a": "a.npz", "b": "b.geojson.gz", "c.d": "c.d.png", "e": "e/cells.parquet"}
    assert find_cells(tmp_path / "e") == {"e": tmp_path / "e" / "cells.parquet"}
    assert list(find_cells(tmp_path / "b.geojson.gz")) == ["b"]
    (tmp_path / "f").mkdir()
    for wrong, says in (("f", "no files of cells"), ("g", "There is no")):
        with pytest.raises(InputError, match=says):
            find_cells(tmp_path / wrong)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"nuc"', "not valid JSON"),
        ('{"nuc": NaNs}', "not valid JSON"),
        ('{"a": 1}', "it has: a"),
        ("[1]", "it has: a list of 1"),
        ("<html>", "no format of cells"),
        ("", "no format of cells"),
        ('{"cells": [{"contour": [[1, 2]]}, {"centroid": [1, 2]}]}', "cell 2 of 2 has no 'contour'"),
        ('{"cells": [{"contour": [[1, 2]]}, {"contour": [[1, 2], [3]]}]}', "cell 2 of 2 is not a list of"),
        ('{"cells": [{"contour": []}]}', "not a list of"),
        ('{"cells": [{"contour": [[1, null], [2, 3]]}]}', "leaves"),
        ('{"cells": [{"contour": [[1, 1e300], [2, 3]]}]}', "leaves"),
        ('{"cells": [{"contour": [[1, 2]], "type": "x"}]}', "not a number"),
        ('{"type": "FeatureCollection"}', "it holds no feature"),
        ('{"type": "FeatureCollection", "features": [1]}', "it holds no feature"),
        ('{"type": "Feature", "geometry": null}', "no geometry"),
        ('{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}', "is a Point"),
        ('{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}}', "empty Polygon"),
        (
            '{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[1, 2]]]}}',
            "of feature 1 of 1 is not a list",
        ),
        (
            '{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[1, 2, 3]]}}',
            "of feature 1 of 1 is not a list",
        ),
        (
            '{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, null]]]}}',
            "feature 1 of 1 leaves",
        ),
    ],
)
def test_broken_text_says_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "cells.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        open_cells(path)
    path.write_bytes(gzip.compress(text.encode())[:-5])
    with pytest.raises(InputError, match="cannot be read"):
        open_cells(path)
    with pytest.raises(InputError, match="cannot be read"):
        open_cells(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["parquet", "x.tif", "x.png", "x.npy", "x.npz", "order.mat"])
def test_cut_files_are_refused(tmp_path: Path, name: str) -> None:
    path = write(name, tmp_path)
    content = path.read_bytes()
    for keep in (len(content) // 3, 20):
        path.write_bytes(content[:keep])
        with pytest.raises(InputError):
            open_cells(path)


def test_a_tiff_without_pages_is_refused_and_nothing_else_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.tif").write_bytes(b"II*\0aaaa")
    with pytest.raises(InputError, match="cannot be read as a TIFF.*no page"):
        open_cells(tmp_path / "x.tif")
    assert capfd.readouterr() == ("", "")


def test_what_is_no_label_map_is_refused(tmp_path: Path) -> None:
    mask = (LABELS > 0).astype(np.uint8)
    for labels, says in (
        (mask * 255, "a mask"),
        (np.stack([mask] * 3, axis=-1), "a picture"),
        (LABELS[:0], "needed is a label map"),
        (np.array(["a", "b"]), "is 2; needed is a label map"),
        (LABELS - 1, "negative"),
        (LABELS + 0.5, "whole numbers"),
        (np.array([[{}]]), "Python objects, which are never read"),
    ):
        np.save(tmp_path / "x.npy", labels)
        with pytest.raises(InputError, match=says):
            open_cells(tmp_path / "x.npy")
    for arrays, says in (
        ({"labels": LABELS}, "no array 'inst'"),
        ({"inst": LABELS, "type": [0, 1]}, "a code for each"),
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(InputError, match=says):
            open_cells(tmp_path / "x.npz")
    for arrays, says in (({"a": 1}, "no 'inst_map'"), ({"inst_map": LABELS, "inst_type": [1, 2]}, "2 classes")):
        savemat(tmp_path / "x.mat", arrays)
        with pytest.raises(InputError, match=says):
            open_cells(tmp_path / "x.mat")


def test_a_map_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match="too many to score"):
        Contours(()).draw((1 << 16, 1 << 16))


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_is_not_looked_for_while_json_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_on: bool
) -> None:
    whole, broken = tmp_path / "whole.json", tmp_path / "broken.json"
    whole.write_text('{"type": "FeatureCollection", "features": []}')
    broken.write_text('{"type": "FeatureCollection", "features": [{}]}')
    looked_for: list[bool] = []

    def load(path: Path) -> object:
        looked_for.append(gc.isenabled())
        return load_json(path)

    monkeypatch.setattr("histocyte.formats.foreign.open.load_json", load)
    (gc.enable if was_on else gc.disable)()
    try:
        open_cells(whole)
        assert gc.isenabled() == was_on
        with pytest.raises(InputError, match="broken"):
            open_cells(broken)
        assert gc.isenabled() == was_on
    finally:
        gc.enable()
    assert looked_for == [False, False]


def described(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A table of cells whose description of itself is another."""
    table = pq.read_table(write("parquet", path))
    about = json.loads(table.schema.metadata[b"histocyte"])
    change(about)
    pq.write_table(table.replace_schema_metadata({"histocyte": json.dumps(about)}), path / "cells.parquet")
    return path / "cells.parquet"


def test_a_table_whose_description_is_damaged_is_named(tmp_path: Path) -> None:
    path = described(tmp_path, lambda about: about["taxonomy"]["classes"][0].update(colour=[1, 2]))
    for read in (read_cells, read_located):
        with pytest.raises(InputError, match=r"cells\.parquet'? is not a table of cells .*Not a taxonomy"):
            read(path)
    path = described(tmp_path, lambda about: about.update(mpp=0))
    with pytest.raises(InputError, match=r"for '.*cells\.parquet' is outside"):
        read_located(path)


def test_probabilities_beyond_all_numbers_are_none(tmp_path: Path) -> None:
    table = pq.read_table(write("parquet", tmp_path))
    column = table.column_names.index("score")
    table = table.set_column(column, "score", pa.array([1e308] * len(table)))
    pq.write_table(table, tmp_path / "cells.parquet")
    assert open_cells(tmp_path / "cells.parquet").scores.tolist() == [1.0] * len(table)
    with pytest.raises(InputError, match=r"cells\.parquet is not a table of cells .*score is not a possible number"):
        read_cells(tmp_path / "cells.parquet")
