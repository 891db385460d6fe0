"""A map of classes as polygons with holes, cut out a strip at a time and joined to what they are in all of it.

Regions of one class hang together over the sides of pixels, not over their corners. All coordinates are whole pixels,
so that pieces of two strips meet exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

__all__ = ["Piece", "joined", "pieces_of"]


@dataclass(frozen=True, slots=True)
class Piece:
    """What of a strip is of one class and hangs together.

    Attributes:
        kind: Its class, from 1.
        polygon: In px, its corners between pixels.
        weight: Sum of a value over its pixels.
    """

    kind: int
    polygon: BaseGeometry
    weight: float


def pieces_of(kinds: NDArray[np.uint8], values: NDArray[np.floating], *, row: int = 0) -> Iterator[Piece]:
    """The pieces of a strip.

    Args:
        kinds: (h, W) class of each pixel, 0 for none.
        values: (h, W) of each pixel; their sum over a piece is its weight.
        row: Row of the map where the strip begins.
    """
    from scipy import ndimage

    ids = np.zeros(kinds.shape, np.int32)
    of: list[int] = []
    for kind in np.unique(kinds[kinds > 0]):
        found, count = ndimage.label(kinds == kind)
        ids += np.where(found > 0, found + len(of), 0).astype(np.int32)
        of += [int(kind)] * count
    if not of:
        return
    sums = np.bincount(ids.ravel(), weights=values.ravel(), minlength=len(of) + 1)
    for number, (kind, box) in enumerate(zip(of, ndimage.find_objects(ids), strict=True), 1):
        outline = _outline(ids[box] == number)
        y, x = row + box[0].start, box[1].start
        yield Piece(kind, shapely.transform(outline, lambda xy, x=x, y=y: xy + (x, y)), float(sums[number]))


def _outline(mask: NDArray[np.bool_]) -> BaseGeometry:
    """The polygon around the pixels of a mask of one piece, with its holes."""
    padded = np.pad(mask, 1).astype(np.int8)
    across, down = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    lines = [*_runs(across, vertical=False), *_runs(down.T, vertical=True)]
    faces, *_ = shapely.polygonize_full(lines)
    parts = shapely.get_parts(faces)
    middles = shapely.get_coordinates(shapely.point_on_surface(parts))
    inside = mask[np.floor(middles[:, 1]).astype(int), np.floor(middles[:, 0]).astype(int)]
    return shapely.union_all(parts[inside])


def _runs(edges: NDArray[np.int8], *, vertical: bool) -> Iterator[BaseGeometry]:
    """Sides of pixels between what is inside and outside, each a line of one px, along the rows of `edges`."""
    rows, columns = np.nonzero(edges)
    start = np.stack([columns, rows], axis=1).astype(np.float64)
    end = start + (1, 0)
    if vertical:
        start, end = start[:, ::-1], end[:, ::-1]
    yield from shapely.linestrings(np.stack([start, end], axis=1))


def joined(
    pieces: Iterable[Piece], *, min_area_px: float = 0.0, simplify_px: float = 0.0
) -> list[tuple[int, BaseGeometry, float]]:
    """The regions that pieces of strips make up.

    Args:
        pieces: Pieces of all strips.
        min_area_px: Smaller regions are left out, and smaller holes filled.
        simplify_px: Square root of the largest triangle that an outline may be cut by; neighbours stay neighbours.

    Returns:
        Class, polygon and mean value of each, by class and place.
    """
    by_kind: dict[int, list[Piece]] = {}
    for piece in pieces:
        by_kind.setdefault(piece.kind, []).append(piece)
    found: list[tuple[int, BaseGeometry, float]] = []
    for kind in sorted(by_kind):
        mine = by_kind[kind]
        whole = [p for p in shapely.get_parts(shapely.union_all([piece.polygon for piece in mine])) if p.area > 0]
        tree = shapely.STRtree(whole)
        points = shapely.point_on_surface([piece.polygon for piece in mine])
        piece_rows, region_rows = tree.query(points, predicate="intersects")
        sums = np.zeros(len(whole))
        np.add.at(sums, region_rows, np.array([piece.weight for piece in mine])[piece_rows])
        for region, total in zip(whole, sums, strict=True):
            if region.area >= min_area_px:
                found.append((kind, shapely.normalize(_filled(region, min_area_px)), float(total / region.area)))
    if found:
        shapes = shapely.coverage_simplify([shape for _, shape, _ in found], simplify_px)
        found = [(kind, shape, value) for (kind, _, value), shape in zip(found, shapes, strict=True)]
    return sorted(found, key=lambda entry: (entry[0], entry[1].bounds[1], entry[1].bounds[0]))


def _filled(region: BaseGeometry, least: float) -> BaseGeometry:
    """A polygon without its holes that are smaller than so many px²."""
    holes = [ring for ring in region.interiors if shapely.Polygon(ring).area >= least]
    return shapely.Polygon(region.exterior, holes)
