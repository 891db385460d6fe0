"""A part of a slide as polygons: the tissue that is searched, or what the user drew."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from histocyte.core.errors import InputError
from histocyte.core.geometry import Box
from histocyte.slides.protocol import SlideReader

__all__ = ["Region", "polygonal", "read_polygons", "read_roi"]


@dataclass(frozen=True)
class Region:
    """Polygons on one slide.

    Attributes:
        parts: Polygons or multipolygons, level-0 px.
        names: One name a part.
    """

    parts: tuple[BaseGeometry, ...]
    names: tuple[str, ...]

    @classmethod
    def whole(cls, reader: SlideReader, name: str = "Slide") -> Region:
        """All of the slide."""
        return cls((shapely.box(0, 0, *reader.size),), (name,))

    @cached_property
    def geometry(self) -> BaseGeometry:
        """The union of all parts, level-0 px, prepared for queries."""
        union = self.parts[0] if len(self.parts) == 1 else shapely.union_all(list(self.parts))
        shapely.prepare(union)
        return union

    def __reduce__(self) -> tuple[object, ...]:
        # Pickling would lose the preparation and keep the union: both are made again when asked for.
        return Region, (self.parts, self.names)

    @property
    def is_empty(self) -> bool:
        """Whether there is no area at all."""
        return bool(self.geometry.is_empty)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax, level-0 px; zeros if empty."""
        if self.is_empty:
            return 0.0, 0.0, 0.0, 0.0
        xmin, ymin, xmax, ymax = self.geometry.bounds
        return xmin, ymin, xmax, ymax

    def split(self) -> Iterator[tuple[str, Region]]:
        """Each part with its name, as a region of its own."""
        for name, part in zip(self.names, self.parts, strict=True):
            yield name, Region((part,), (name,))

    def area_mm2(self, mpp: float) -> float:
        """Area in mm² on a slide of `mpp` µm/px at level 0; what parts share counts once."""
        return float(self.geometry.area) * mpp * mpp / 1e6

    def intersects(self, box: Box | tuple[float, float, float, float]) -> bool:
        """Whether the region has a point in a box (or xmin, ymin, xmax, ymax), level-0 px."""
        if isinstance(box, Box):
            box = (box.x, box.y, box.right, box.bottom)
        return bool(self.geometry.intersects(shapely.box(*box)))

    def contains(self, xy: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) whether each point of (N, 2) level-0 x, y lies in the region (its outline included)."""
        return np.asarray(shapely.intersects_xy(self.geometry, xy[:, 0], xy[:, 1]), np.bool_)

    def to_geojson(self) -> dict[str, Any]:
        """A FeatureCollection of QuPath annotations, one a part, level-0 px."""
        features = [
            {
                "type": "Feature",
                "geometry": json.loads(shapely.to_geojson(part)),
                "properties": {"objectType": "annotation", "name": name},
            }
            for name, part in zip(self.names, self.parts, strict=True)
            if not part.is_empty
        ]
        return {"type": "FeatureCollection", "features": features}


def read_polygons(path: str | Path) -> Region:
    """Polygons of GeoJSON (also gzipped), as QuPath writes it, as they are drawn; empty if there is none.

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
    """Regions of interest from GeoJSON (see `read_polygons`): level-0 px of this slide.

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
    cut = [(polygonal(part.intersection(slide)), name) for part, name in zip(drawn.parts, drawn.names, strict=True)]
    on_slide = [(part, name) for part, name in cut if not part.is_empty]
    if not on_slide:
        width, height = reader.size
        raise InputError(
            f"All regions of {path} lie outside slide {reader.name} ({width} × {height} px). Coordinates must be "
            "full-resolution pixels of this slide: is it the region of another one?"
        )
    parts, names = zip(*on_slide, strict=True)
    return Region(parts, names)


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """What of a geometry has an area: points and lines dropped."""
    polygons = [p for p in shapely.get_parts(shapely.get_parts([geometry])) if p.geom_type == "Polygon" and p.area > 0]
    return polygons[0] if len(polygons) == 1 else shapely.union_all(polygons)


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
