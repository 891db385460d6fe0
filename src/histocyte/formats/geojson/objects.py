"""The one reader of GeoJSON: which objects a file holds, of which kind, and which of them are cells or regions.

QuPath has written the kind of an object in three ways: as the feature's `id` (0.2: PathDetectionObject), and as its
property `object_type` (0.3) or `objectType` (since 0.4); it also reads `type`, and takes what says none for an
annotation. Other tools mostly say none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from histocyte.core.errors import InputError
from histocyte.formats.json_file import load_json, without_collection

__all__ = ["Kind", "Objects", "is_geojson", "objects_of", "read_objects"]

_CHILDREN = ("childObjects", "children")
_GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection")


class Kind(Enum):
    """What an object is; the value is what one is called, and what several are."""

    CELL = ("cell", "cells")
    ANNOTATION = ("annotation", "annotations")
    UNSTATED = ("object of no stated kind", "objects of no stated kind")
    CORE = ("TMA core", "TMA cores")
    MISSING_CORE = ("missing TMA core", "missing TMA cores")
    TILE = ("tile", "tiles")
    SPOT = ("subcellular spot", "subcellular spots")
    ROOT = ("root object", "root objects")


_KINDS = {
    "cell": Kind.CELL,
    "celldetection": Kind.CELL,
    "detection": Kind.CELL,
    "annotation": Kind.ANNOTATION,
    "tmacore": Kind.CORE,
    "tile": Kind.TILE,
    "root": Kind.ROOT,
}
"""Names without "Path", "Object", case and underscores."""

_SPOTS = ("Subcellular spot", "Subcellular cluster")
"""How the classes of QuPath's detections begin that lie within a cell and are none."""

_CELLS = ({Kind.CELL}, {Kind.ANNOTATION, Kind.UNSTATED})
_REGIONS = ({Kind.ANNOTATION, Kind.UNSTATED, Kind.CORE}, {Kind.TILE}, {Kind.CELL})
"""Sets of kinds; the first of which a file has any is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Objects of a file, in its order; one that lies within another comes after it.

    Attributes:
        path: The file.
        features: As they are in the file.
        kinds: Kinds of each.
        numbers: Number of each in the file, from 1.
        total: How many the file holds.
    """

    path: Path
    features: list[Mapping[str, Any]]
    kinds: list[Kind]
    numbers: list[int]
    total: int

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.features)

    def number(self, i: int) -> str:
        """Object i in words, as it is found in the file."""
        return f"feature {self.numbers[i]:,} of {self.total:,}"

    def cells(self) -> tuple[Objects, list[str]]:
        """Those that are cells, and notes on the others.

        In a file with detections or cells these are; in one without, what was drawn or has no kind. TMA cores, tiles
        and the root never are.
        """
        chosen, notes = self._first_of(_CELLS), []
        if left := _listed(self, chosen):
            notes.append(f"'{self.path.name}': left out, being no cells: {left}.")
        if Kind.ANNOTATION in chosen.kinds:
            notes.append(f"'{self.path.name}' has no detections: its annotations are taken for the cells.")
        return chosen, notes

    def regions(self) -> tuple[Objects, list[str]]:
        """Those that are regions, and notes on the others.

        Annotations, TMA cores and what has no kind are; in a file with none of these the tiles, else the detections.
        """
        chosen, notes = self._first_of(_REGIONS), []
        if left := _listed(self, chosen):
            notes.append(f"'{self.path.name}': left out, being no regions: {left}.")
        for kind, words in ((Kind.TILE, "tiles"), (Kind.CELL, "detections")):
            if kind in chosen.kinds:
                notes.append(f"'{self.path.name}' holds {words} and no annotations: each is taken for a region.")
        return chosen, notes

    def class_names(self) -> list[str | None]:
        """The class of each; several names, as QuPath derives classes, are joined by ": "."""
        return [_class_name(feature) for feature in self.features]

    def names(self) -> list[str]:
        """The name of each, else its class, else nothing."""
        named = (_text(_properties(f).get("name")) or _class_name(f) or "" for f in self.features)
        return list(named)

    def measurements(self) -> list[dict[str, float | None]]:
        """What was measured of each; None what is not a number. QuPath before 0.4 wrote a list of name and value."""
        return [_measurements(feature) for feature in self.features]

    def _first_of(self, choices: tuple[set[Kind], ...]) -> Objects:
        there = set(self.kinds)
        wanted = next((kinds for kinds in choices if kinds & there), set())
        rows = [i for i, kind in enumerate(self.kinds) if kind in wanted]
        if len(rows) == len(self):
            return self
        return Objects(
            self.path,
            [self.features[i] for i in rows],
            [self.kinds[i] for i in rows],
            [self.numbers[i] for i in rows],
            self.total,
        )


def is_geojson(data: object) -> bool:
    """Whether JSON looks like a FeatureCollection, a Feature, a geometry, or a list of those, nested or empty."""
    while isinstance(data, list):
        if not data:
            return True
        data = data[0]
    if not isinstance(data, dict):
        return False
    return data.get("type") == "FeatureCollection" or _is_collection(data) or _is_feature(data) or _is_geometry(data)


def read_objects(path: Path) -> Objects:
    """Read a file of GeoJSON, gzipped or not.

    Raises:
        InputError: It cannot be read or is not GeoJSON.
    """
    with without_collection():
        return objects_of(load_json(path), path)


def objects_of(data: Any, path: Path) -> Objects:
    """The objects of JSON that has been read.

    Args:
        data: The content.
        path: Where it is from.

    Raises:
        InputError: It is not GeoJSON.
    """
    features = list(_features(data, path))
    return Objects(path, features, [_kind(f) for f in features], list(range(1, len(features) + 1)), len(features))


def _features(data: Any, path: Path) -> Iterator[Mapping[str, Any]]:
    """Every feature, in the file's order; without recursion, as files nest as deep as they like."""
    left = [data]
    seen = 0
    while left:
        item = left.pop()
        if isinstance(item, list):
            left.extend(reversed(item))
        elif isinstance(item, dict) and _is_collection(item):
            left.extend(reversed(item["features"]))
        elif isinstance(item, dict) and (_is_feature(item) or _is_geometry(item)):
            feature = item if _is_feature(item) else {"type": "Feature", "geometry": item}
            seen += 1
            yield feature
            for within in (_properties(feature), feature):
                children = next((c for key in _CHILDREN if isinstance(c := within.get(key), list)), [])
                left.extend(reversed(children))
        else:
            what = f"what follows feature {seen:,} is not a feature" if seen else "it holds no feature"
            raise InputError(
                f"'{path}' is broken or not GeoJSON: {what}. Needed is a FeatureCollection or a list of Features; in "
                "QuPath: File > Export objects as GeoJSON."
            )


def _is_collection(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("features"), list)


def _is_feature(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "Feature" or "geometry" in item


def _is_geometry(item: Mapping[str, Any]) -> bool:
    return item.get("type") in _GEOMETRIES


def _kind(feature: Mapping[str, Any]) -> Kind:
    properties = _properties(feature)
    for value in (*map(properties.get, ("objectType", "object_type", "type")), feature.get("id")):
        if isinstance(value, str):
            name = value.lower().replace("_", "").removeprefix("path").removesuffix("object")
            if (kind := _KINDS.get(name)) is not None:
                return _closer(kind, feature)
    return Kind.UNSTATED


def _closer(kind: Kind, feature: Mapping[str, Any]) -> Kind:
    """What QuPath does not give a kind of its own."""
    if kind is Kind.CORE and _properties(feature).get("isMissing") is True:
        return Kind.MISSING_CORE
    if kind is Kind.CELL and (_class_name(feature) or "").startswith(_SPOTS):
        return Kind.SPOT
    return kind


def _properties(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def _class_name(feature: Mapping[str, Any]) -> str | None:
    classification = _properties(feature).get("classification")
    if isinstance(classification, dict):
        names = classification.get("names")
        classification = names if isinstance(names, list) and names else classification.get("name")
    if isinstance(classification, list):
        return ": ".join(_text(name) for name in classification) or None
    return _text(classification) or None


def _text(value: object) -> str:
    """A name that can be printed and written: halves of characters, which JSON can hold, are replaced."""
    if value is None or isinstance(value, dict | list):
        return ""
    return str(value).encode("utf-8", "replace").decode()


def _measurements(feature: Mapping[str, Any]) -> dict[str, float | None]:
    listed = _properties(feature).get("measurements")
    if isinstance(listed, list):
        entries = [e for e in listed if isinstance(e, dict)]
        listed = {_text(entry.get("name")): entry.get("value") for entry in entries}
    if not isinstance(listed, dict):
        return {}
    return {name: _number(value) for name, value in listed.items()}


def _number(value: object) -> float | None:
    """A measurement; QuPath writes what it could not measure as "NaN"."""
    if isinstance(value, float) and value == value:
        return value
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, KeyError):
        return None
    return number if number == number else None


def _listed(whole: Objects, chosen: Objects) -> str:
    """How many of which kind were not chosen; the root goes without saying."""
    left = Counter(whole.kinds) - Counter(chosen.kinds)
    return ", ".join(f"{n:,} {kind.value[n > 1]}" for kind, n in left.items() if kind is not Kind.ROOT)
