"""A part of a slide as polygons: the tissue that is searched, or what the user drew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from histocyte.core.geometry import Box, to_viewer
from histocyte.slides.protocol import SlideReader

__all__ = ["Region", "polygonal"]


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

    def to_geojson(self, origin: tuple[int, int] = (0, 0)) -> dict[str, Any]:
        """A FeatureCollection of QuPath annotations, one a part, in the viewer's frame.

        Args:
            origin: Level-0 (x, y) that the viewer counts from (see `core.geometry`).
        """
        features = [
            {
                "type": "Feature",
                "geometry": json.loads(shapely.to_geojson(shapely.transform(part, lambda xy: to_viewer(xy, origin)))),
                "properties": {"objectType": "annotation", "name": name},
            }
            for name, part in zip(self.names, self.parts, strict=True)
            if not part.is_empty
        ]
        return {"type": "FeatureCollection", "features": features}


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """What of a geometry has an area: points and lines dropped."""
    polygons = [p for p in shapely.get_parts(shapely.get_parts([geometry])) if p.geom_type == "Polygon" and p.area > 0]
    return polygons[0] if len(polygons) == 1 else shapely.union_all(polygons)
