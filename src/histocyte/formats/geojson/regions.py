"""Regions drawn on a slide, from GeoJSON."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from histocyte.core.errors import InputError
from histocyte.core.geometry import from_viewer
from histocyte.slides.protocol import SlideReader
from histocyte.slides.region import Region, polygonal

__all__ = ["read_polygons", "read_roi"]


def read_polygons(path: str | Path) -> Region:
    """Polygons of GeoJSON (also gzipped), as QuPath writes it, in the viewer's frame; empty if there is none.

    A part's name is the annotation's name, else its class, else `region N`. Points and lines are passed over.

    Raises:
        InputError: Not such a file.
    """
    path = Path(path)
    parts: list[BaseGeometry] = []
    names: list[str] = []
    for feature in _features(_load(path), path):
        geometry = _polygons(feature, path)
        if not geometry.is_empty:
            parts.append(geometry)
            names.append(_feature_name(feature) or f"region {len(parts)}")
    return Region(tuple(parts), tuple(names))


def read_roi(path: str | Path, reader: SlideReader) -> Region:
    """Regions of interest from GeoJSON (see `read_polygons`), drawn on this slide in a viewer: as level-0 px.

    What hangs over the slide's edge is cut off.

    Raises:
        InputError: Not such a file, no polygon in it, or none of them on the slide.
    """
    drawn = read_polygons(path)
    if not drawn.parts:
        raise InputError(
            f"{path} holds no polygon. Draw an annotation with an area in QuPath and export it as GeoJSON."
        )
    slide = shapely.box(0, 0, *reader.size)
    origin = reader.bounds.corner
    placed = [shapely.transform(part, lambda xy: from_viewer(xy, origin)) for part in drawn.parts]
    cut = [(polygonal(part.intersection(slide)), name) for part, name in zip(placed, drawn.names, strict=True)]
    on_slide = [(part, name) for part, name in cut if not part.is_empty]
    if not on_slide:
        bounds = reader.bounds
        raise InputError(
            f"All regions of {path} lie outside slide {reader.name} ({bounds.width} × {bounds.height} px). Coordinates "
            "must be full-resolution pixels of this slide as QuPath shows it: is it the region of another one?"
        )
    parts, names = zip(*on_slide, strict=True)
    return Region(parts, names)


def _load(path: Path) -> object:
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except FileNotFoundError:
        raise InputError(f"No such file: {path}.") from None
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise InputError(f"{path} is not GeoJSON ({error}). In QuPath: File > Export objects as GeoJSON.") from error


def _features(data: object, path: Path) -> Iterator[Mapping[str, Any]]:
    """Features of a FeatureCollection, a bare list, one Feature or a bare geometry."""
    if isinstance(data, list):
        for item in data:
            yield from _features(item, path)
    elif isinstance(data, dict) and data.get("type") == "FeatureCollection":
        yield from _features(data.get("features"), path)
    elif isinstance(data, dict) and data.get("type") == "Feature":
        yield data
    elif isinstance(data, dict) and "coordinates" in data:
        yield {"type": "Feature", "geometry": data}
    else:
        raise InputError(f"{path} is not GeoJSON: a FeatureCollection or a list of Features is needed.")


def _polygons(feature: Mapping[str, Any], path: Path) -> BaseGeometry:
    if not feature.get("geometry"):
        return shapely.Polygon()
    try:
        geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
        return polygonal(geometry if geometry.is_valid else shapely.make_valid(geometry))
    except (shapely.GEOSException, ValueError, TypeError) as error:
        raise InputError(f"{path} holds a geometry that cannot be read: {error}.") from error


def _feature_name(feature: Mapping[str, Any]) -> str:
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        return ""
    classification = properties.get("classification")
    name = properties.get("name") or (
        classification.get("name") if isinstance(classification, dict) else classification
    )
    return str(name or "")
