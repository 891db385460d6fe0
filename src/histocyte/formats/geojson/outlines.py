"""Coordinates of GeoJSON as arrays: outlines with holes and pieces, and points.

A file is in the viewer's frame (see `core.geometry`), and so is what is read, unless the origin of that frame is given:
then it is in level-0 px. All coordinates that are read pass `from_viewer` here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import from_viewer
from histocyte.formats.geojson.objects import Kind, Objects

__all__ = ["MAX_COORDINATE", "Outlines", "Points", "geometry_type", "outlines_of", "points_of"]

MAX_COORDINATE = 1e7
"""No slide is larger, px; and the pixels' indices stay within what OpenCV draws."""

_Ring = list[Any]
_Polygon = list[_Ring]


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """N shapes of one or more polygons each, polygons of an outer ring and perhaps holes.

    Attributes:
        xy: (M, 2) px of all rings one after the other; a ring's last point may repeat its first.
        rings: (R + 1,) ring r owns xy[rings[r]:rings[r + 1]], at least three.
        polygons: (P + 1,) polygon p owns rings polygons[p]..polygons[p + 1], at least one.
        shapes: (N + 1,) shape i owns polygons shapes[i]..shapes[i + 1], at least one.
        objects: (N,) the object that each is of.
    """

    xy: NDArray[np.float64]
    rings: NDArray[np.int64]
    polygons: NDArray[np.int64]
    shapes: NDArray[np.int64]
    objects: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of shapes."""
        return len(self.objects)

    def geometries(self) -> NDArray[np.object_]:
        """(N,) Polygons and MultiPolygons, as they are drawn: not all are valid."""
        closed, rings = _closed(self.xy, self.rings)
        polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, closed, (rings, self.polygons))
        if len(polygons) == len(self):
            return np.asarray(polygons, object)
        return np.array(
            [
                polygons[a] if b - a == 1 else shapely.multipolygons(polygons[a:b])
                for a, b in zip(self.shapes[:-1], self.shapes[1:], strict=True)
            ],
            object,
        )

    def centres(self) -> NDArray[np.float64]:
        """(N, 2) centroids, px."""
        if not len(self):
            return np.zeros((0, 2))
        shapes = self.geometries()
        centres = shapely.get_coordinates(shapely.centroid(shapes))
        bounds = shapely.bounds(shapes)
        # Of an outline that crosses itself the parts may cancel out, and the centroid lies anywhere.
        away = ~((centres >= bounds[:, :2]) & (centres <= bounds[:, 2:])).all(axis=1)
        if away.any():
            centres[away] = shapely.get_coordinates(shapely.centroid(shapely.make_valid(shapes[away])))
        return np.asarray(centres, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """N points.

    Attributes:
        xy: (N, 2) px.
        objects: (N,) the object that each is of.
    """

    xy: NDArray[np.float64]
    objects: NDArray[np.int64]


def outlines_of(objects: Objects, *, apart: Collection[Kind] = (), origin: tuple[int, int] = (0, 0)) -> Outlines:
    """The outlines of objects; those that have none, such as points and lines, are left out.

    Args:
        objects: Objects from a file.
        apart: Kinds of object of which each piece of a MultiPolygon is a shape of its own.
        origin: Level-0 (x, y) of the corner that the file counts from (see `core.geometry`).

    Raises:
        InputError: An outline is broken; the message says whose.
    """
    polygons: list[_Polygon] = []
    shapes, owners = [0], []
    for i, feature in enumerate(objects.features):
        pieces = _checked(lambda f: list(_polygons(_geometry(f))), feature, objects, i)
        if not pieces:
            continue
        polygons += pieces
        each = objects.kinds[i] in apart
        ends = range(len(polygons) - len(pieces) + 1, len(polygons) + 1) if each else [len(polygons)]
        shapes += ends
        owners += [i] * len(ends)
    rings = list(chain.from_iterable(polygons))
    of_rings = np.cumsum([0, *map(len, polygons)]).astype(np.int64)
    of_shapes, of_objects = np.array(shapes, np.int64), np.array(owners, np.int64)

    def owner(ring: int) -> int:
        polygon = int(np.searchsorted(of_rings, ring, side="right")) - 1
        return int(of_objects[np.searchsorted(of_shapes, polygon, side="right") - 1])

    xy, ends_of_rings = _arrays(rings, lambda ring: objects.number(owner(ring)), objects)
    return Outlines(from_viewer(xy, origin), ends_of_rings, of_rings, of_shapes, of_objects)


def points_of(objects: Objects, *, origin: tuple[int, int] = (0, 0)) -> Points:
    """The points of objects; those that have none are left out.

    Args:
        objects: Objects from a file.
        origin: Level-0 (x, y) of the corner that the file counts from (see `core.geometry`).

    Raises:
        InputError: A point is broken; the message says whose.
    """
    points: list[list[Any]] = []
    owners: list[int] = []
    for i, feature in enumerate(objects.features):
        some = _checked(lambda f: list(_points(_geometry(f))), feature, objects, i)
        points += [[point] for point in some]
        owners += [i] * len(some)
    xy, _ = _arrays(points, lambda p: objects.number(owners[p]), objects, least=1)
    return Points(from_viewer(xy, origin), np.array(owners, np.int64))


def geometry_type(feature: Mapping[str, Any]) -> str:
    """What an object's geometry is called; "nothing" where it has none."""
    return str(_geometry(feature).get("type") or "nothing")


def _geometry(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    """Geometry of an object: of a cell with a nucleus, the nucleus's."""
    geometries = (feature.get("nucleusGeometry"), feature.get("geometry"))
    return next((g for g in geometries if isinstance(g, dict) and g), {})


def _polygons(geometry: Mapping[str, Any]) -> Iterator[_Polygon]:
    """The polygons of a geometry, each a list of rings."""
    left = [geometry]
    while left:
        part = left.pop()
        kind, coordinates = part.get("type"), part.get("coordinates")
        if kind == "Polygon" and coordinates:
            yield list(coordinates)
        elif kind == "MultiPolygon" and coordinates:
            yield from (list(polygon) for polygon in coordinates if polygon)
        elif kind == "GeometryCollection":
            left.extend(reversed(part.get("geometries") or []))


def _points(geometry: Mapping[str, Any]) -> Iterator[Any]:
    coordinates = geometry.get("coordinates") or []
    if geometry.get("type") == "Point" and coordinates:
        yield coordinates
    elif geometry.get("type") == "MultiPoint":
        yield from coordinates


def _checked(
    read: Callable[[Mapping[str, Any]], list[Any]], feature: Mapping[str, Any], objects: Objects, i: int
) -> list[Any]:
    try:
        return read(feature)
    except (TypeError, AttributeError, KeyError) as error:
        raise InputError(
            f"'{objects.path}': the geometry of {objects.number(i)} cannot be read. Export it again."
        ) from error


def _arrays(
    rings: list[Any], owner: Callable[[int], str], objects: Objects, *, least: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(M, 2) x, y of all rings, and (R + 1,) where each begins.

    Raises:
        InputError: A ring is not a list of enough [x, y]; `owner` names whose.
    """
    if not rings:
        return np.zeros((0, 2)), np.zeros(1, np.int64)
    try:
        xy = np.array(list(chain.from_iterable(rings)), np.float64)
        sizes = np.fromiter(map(len, rings), np.int64, len(rings))
        whole = xy.ndim == 2 and xy.shape[1] >= 2 and sizes.min() >= least
    except (TypeError, ValueError, OverflowError, KeyError):
        whole = False
    if not whole:  # some ring is broken, or some have two and some three coordinates
        parts = [_ring(ring, least) for ring in rings]
        broken = next((r for r, part in enumerate(parts) if part is None), None)
        if broken is not None:
            what = "outline" if least > 1 else "place"
            raise InputError(
                f"'{objects.path}': the {what} of {owner(broken)} is not a list of [x, y]"
                f"{f', {least} or more' if least > 1 else ''}. Export it again."
            )
        xy = np.concatenate([part for part in parts if part is not None])
        sizes = np.array([len(part) for part in parts if part is not None], np.int64)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    xy = np.ascontiguousarray(xy[:, :2])
    wrong = ~(np.abs(xy) <= MAX_COORDINATE).all(axis=1)  # also catches NaN
    if wrong.any():
        ring = int(np.searchsorted(ends, int(wrong.argmax()), side="right")) - 1
        raise InputError(
            f"'{objects.path}': {owner(ring)} leaves ±{MAX_COORDINATE:g} px or has a coordinate that is not a number. "
            "Export it again."
        )
    return xy, ends


def _ring(ring: Any, least: int) -> NDArray[np.float64] | None:
    try:
        points = np.array(ring, np.float64)
    except (TypeError, ValueError, OverflowError, KeyError):
        try:
            points = np.array([point[:2] for point in ring], np.float64)
        except (TypeError, ValueError, OverflowError, KeyError):
            return None
    if points.ndim != 2 or points.shape[1] < 2 or len(points) < least:
        return None
    return points[:, :2]


def _closed(xy: NDArray[np.float64], rings: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The same rings, each ending where it begins and of at least four points, as shapely wants them."""
    starts, ends = rings[:-1], rings[1:]
    short = ((xy[starts] != xy[ends - 1]).any(axis=1) | (ends - starts < 4)).astype(np.int64)
    if not short.any():
        return xy, rings
    return np.insert(xy, ends[short > 0], xy[starts[short > 0]], axis=0), rings + np.concatenate(
        [[0], np.cumsum(short)]
    )
