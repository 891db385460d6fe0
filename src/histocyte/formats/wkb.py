"""Outlines as well-known binary, many at a time."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from histocyte.core.cells import Cells

__all__ = ["closed_rings", "from_wkb", "to_wkb"]

_HEADER = np.frombuffer(b"\x01" + np.array([3, 1, 0], "<u4").tobytes(), np.uint8)
"""Little-endian, polygon, one ring, and room for the ring's number of points."""


def closed_rings(cells: Cells) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Outlines with their first point repeated at the end, of four points or more as formats demand.

    Returns:
        (M, 2) points and (N + 1,) offsets, as in `Cells`.
    """
    sizes = np.diff(cells.contour_offsets)
    closed = np.maximum(sizes + 1, 4)
    offsets = np.concatenate([[0], np.cumsum(closed)]).astype(np.int64)
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], closed)
    position[position >= np.repeat(sizes, closed)] = 0
    return cells.contour_xy[position + np.repeat(cells.contour_offsets[:-1], closed)], offsets


def to_wkb(cells: Cells) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Each outline as a WKB polygon.

    Returns:
        All bytes one after the other, and (N + 1,) offsets of the polygons in them.
    """
    points, rings = closed_rings(cells)
    sizes = np.diff(rings)
    offsets = np.concatenate([[0], np.cumsum(len(_HEADER) + 16 * sizes)]).astype(np.int64)
    header = np.tile(_HEADER, (len(cells), 1))
    header[:, -4:] = sizes.astype("<u4")[:, None].view(np.uint8)
    content = np.empty(offsets[-1], np.uint8)
    is_point = np.ones(len(content), np.bool_)
    places = offsets[:-1, None] + np.arange(len(_HEADER))
    content[places] = header
    is_point[places] = False
    content[is_point] = points.astype("<f8").view(np.uint8).ravel()
    return content, offsets


def from_wkb(polygons: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The open outer rings of WKB polygons, from whatever program.

    Returns:
        (M, 2) points and (N + 1,) offsets, as in `Cells`.

    Raises:
        ValueError: A geometry is not a polygon, or is empty.
    """
    geometries = shapely.from_wkb(polygons)
    if len(geometries) and (
        (shapely.get_type_id(geometries) != shapely.GeometryType.POLYGON).any() or shapely.is_empty(geometries).any()
    ):
        raise ValueError("not all geometries are polygons")
    points, ring = shapely.get_coordinates(shapely.get_exterior_ring(geometries), return_index=True)
    closed = np.bincount(ring, minlength=len(geometries))
    last = np.cumsum(closed) - 1
    offsets = np.concatenate([[0], np.cumsum(closed - 1)]).astype(np.int64)
    return np.delete(points, last, axis=0), offsets
