"""GeoJSON as QuPath and histocyte write it: one detection a cell, its classification, its measurements."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.formats.foreign.contents import CellFile
from histocyte.formats.foreign.polygons import Polygons

__all__ = ["is_geojson", "read_geojson_cells"]

_CELLS = ("detection", "cell")
_PROBABILITY, _SCORE = "Class probability", "Detection score"


def is_geojson(data: object) -> bool:
    """Whether JSON is a FeatureCollection, a Feature, or a list of those."""
    if isinstance(data, list):
        return bool(data) and isinstance(data[0], dict) and data[0].get("type") in ("Feature", "FeatureCollection")
    return isinstance(data, dict) and data.get("type") in ("Feature", "FeatureCollection")


def read_geojson_cells(data: Any, path: Path) -> CellFile:
    """Read cells.

    In a file with detections or cells, annotations are regions and are left out; in one without, they are the cells. A
    MultiPolygon is one cell in several pieces, but of an annotation it is one cell a piece, as CellViT writes all cells
    of a class. Of a cell with a nucleus the nucleus is taken.

    Args:
        data: The content, for which `is_geojson` holds.
        path: Where it is from.

    Raises:
        InputError: A feature is broken.
    """
    try:
        features = _features(data)
        kinds = [_kind(feature) for feature in features]
        chosen = [f for f, kind in zip(features, kinds, strict=True) if kind in _CELLS] or features
        cells = [cell for i, feature in enumerate(chosen) for cell in _cells(feature, i, path)]
        polygons = _polygons([rings for _, rings in cells], path)
        properties = [feature.get("properties") or {} for feature, _ in cells]
        classes = [_class_name(p) for p in properties]
        measured = [_measurements(p) for p in properties]
        return _file(path, polygons, classes, measured)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise InputError(f"'{path}' is broken GeoJSON ({error}). Export it anew.") from error


def _file(
    path: Path, polygons: Polygons, classes: list[str | None], measured: list[dict[str, float | None]]
) -> CellFile:
    stated = [key[2:-1] for key in measured[0] if key.startswith("P(") and key.endswith(")")] if measured else []
    names = [*stated, *sorted({name for name in classes if name is not None} - set(stated))]
    codes = {name: i for i, name in enumerate(names, 1)}
    probabilities = None
    if stated and len(stated) == len(names):
        keys = [f"P({name})" for name in names]
        try:
            probabilities = np.array([[m[key] for key in keys] for m in measured], np.float32)
        except (KeyError, TypeError):  # a cell that someone drew by hand has none
            probabilities = None
    return CellFile(
        path,
        polygons,
        np.array([0 if name is None else codes[name] for name in classes], np.int64),
        _column(measured, _PROBABILITY),
        {code: name for name, code in codes.items()},
        probabilities,
        _column(measured, _SCORE),
    )


def _column(measured: list[dict[str, float | None]], key: str) -> NDArray[np.float32]:
    """(N,) values within 0..1, 1 where there is none."""
    values = np.array([1.0 if m.get(key) is None else m[key] for m in measured], np.float32)
    return np.where((values >= 0) & (values <= 1), values, np.float32(1))


def _features(data: Any) -> list[Any]:
    if isinstance(data, list):
        return [feature for part in data for feature in _features(part)]
    return list(data["features"]) if data.get("type") == "FeatureCollection" else [data]


def _kind(feature: Any) -> str:
    """QuPath's object type, of old and new versions."""
    properties = feature.get("properties") or {}
    kind = properties.get("objectType") or properties.get("object_type") or feature.get("id") or ""
    return str(kind).lower().removeprefix("path").removesuffix("object")


def _cells(feature: Any, i: int, path: Path) -> list[tuple[Any, list[Any]]]:
    """The feature and the rings of each cell in it."""
    geometry = feature.get("nucleusGeometry") or feature["geometry"] or {}
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "Polygon" and coordinates:
        return [(feature, coordinates)]
    if kind == "MultiPolygon" and coordinates and all(coordinates):
        if _kind(feature) == "annotation":
            return [(feature, rings) for rings in coordinates]
        return [(feature, list(chain.from_iterable(coordinates)))]
    raise InputError(
        f"'{path}': feature {i} is {'an empty ' if kind else 'no geometry, '}{kind or 'so no outline'}; needed are "
        "a Polygon or MultiPolygon for each cell."
        if not coordinates
        else f"'{path}': feature {i} is a {kind}, and outlines are needed: export cells as polygons."
    )


def _polygons(cells: list[list[Any]], path: Path) -> Polygons:
    rings = list(chain.from_iterable(cells))
    try:
        points = np.array(list(chain.from_iterable(rings)), np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    sizes = np.array([len(ring) for ring in rings], np.int64)
    if len(rings) and (points.ndim != 2 or points.shape[1] < 2 or sizes.min() < 3):
        raise InputError(f"'{path}': the outline of cell {_first_broken(cells)} is no list of [x, y]. Export it anew.")
    return Polygons(
        np.ascontiguousarray(points.reshape(len(points), -1)[:, :2]) if len(rings) else np.empty((0, 2)),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([[0], np.cumsum([len(cell) for cell in cells])]).astype(np.int64),
    ).check(path)


def _first_broken(cells: list[list[Any]]) -> int:
    for i, rings in enumerate(cells):
        for ring in rings:
            try:
                points = np.array(ring, np.float64)
            except (TypeError, ValueError):
                return i
            if points.ndim != 2 or points.shape[1] < 2 or len(points) < 3:
                return i
    return 0  # each is right by itself: some have two and some three coordinates


def _class_name(properties: dict[str, Any]) -> str | None:
    classification = properties.get("classification") or {}
    names = classification.get("names")
    name = ": ".join(map(str, names)) if names else classification.get("name")
    return None if name is None else str(name)


def _measurements(properties: dict[str, Any]) -> dict[str, float | None]:
    """QuPath before 0.4 wrote a list of name and value."""
    listed = properties.get("measurements") or {}
    return {entry["name"]: entry["value"] for entry in listed} if isinstance(listed, list) else listed
