"""The cells among the objects of a GeoJSON file: the same ones whatever they are read for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.formats.geojson.objects import Kind, Objects
from histocyte.formats.geojson.outlines import Outlines, Points, geometry_type, outlines_of, points_of

__all__ = ["CellObjects", "cells_of"]


@dataclass(frozen=True, slots=True, eq=False)
class CellObjects:
    """N cells: those with an outline first, then those that are a point alone.

    Attributes:
        objects: Those of the file that are cells.
        outlines: Where cells with an outline lie.
        points: Where the others do; none where outlines were asked for.
        notes: What a reader should know, in sentences.
    """

    objects: Objects
    outlines: Outlines
    points: Points
    notes: tuple[str, ...]

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.outlines) + len(self.points.objects)

    @property
    def rows(self) -> NDArray[np.int64]:
        """(N,) which object each cell is of: an annotation may hold several."""
        return np.concatenate([self.outlines.objects, self.points.objects])

    def centres(self) -> NDArray[np.float64]:
        """(N, 2) px."""
        return np.concatenate([self.outlines.centres(), self.points.xy])

    def class_names(self) -> list[str | None]:
        """The class of each cell; None where it has none."""
        names = self.objects.class_names()
        return [names[row] for row in self.rows]

    def measurements(self) -> list[dict[str, float | None]]:
        """What was measured of each cell."""
        measured = self.objects.measurements()
        return [measured[row] for row in self.rows]

    def features(self) -> list[Any]:
        """The feature of each cell, as it is in the file."""
        return [self.objects.features[row] for row in self.rows]


def cells_of(found: Objects, *, need_outlines: bool, origin: tuple[int, int] = (0, 0)) -> CellObjects:
    """The cells of a file (see `Objects.cells`).

    A MultiPolygon is one cell in several pieces, but of an annotation it is one cell a piece, as CellViT writes all
    cells of a class. Of a cell with a nucleus the nucleus is taken. Points are cells where no outline is drawn.

    Args:
        found: The objects of the file.
        need_outlines: Whether a cell without an outline is of no use.
        origin: Level-0 (x, y) of the corner that the file counts from (see `outlines`).

    Raises:
        InputError: A detection has no place, or no outline where one is needed; or nothing in the file has.
    """
    objects, notes = found.cells()
    outlines = outlines_of(objects, apart={Kind.ANNOTATION}, origin=origin)
    drawn = Kind.CELL not in objects.kinds
    points = Points(np.zeros((0, 2)), np.zeros(0, np.int64))
    if not need_outlines and not (drawn and len(outlines)):
        points = points_of(objects, origin=origin)
    placed = np.union1d(outlines.objects, points.objects)
    bare = np.setdiff1d(np.arange(len(objects)), placed)
    if len(bare) and not (drawn and len(placed)):
        raise InputError(_without_place(objects, bare.tolist(), need_outlines))
    if len(bare):
        numbers = _some([objects.numbers[i] for i in bare])
        notes.append(f"'{found.path.name}': features without an area do not count as cells (number {numbers}).")
    return CellObjects(objects, outlines, points, tuple(notes))


def _without_place(objects: Objects, bare: list[int], need_outlines: bool) -> str:
    kind = geometry_type(objects.features[bare[0]])
    what = {"nothing": "has no geometry", "Polygon": "is an empty Polygon", "MultiPolygon": "is an empty MultiPolygon"}
    more = f" (also number {_some([objects.numbers[i] for i in bare[1:]])})" if len(bare) > 1 else ""
    needed = "a Polygon or MultiPolygon for each cell" if need_outlines else "an outline or a point for each cell"
    return (
        f"'{objects.path}': {objects.number(bare[0])} {what.get(kind, f'is a {kind}')}{more}; needed is {needed}. "
        "Export cells as polygons, or remove what is none."
    )


def _some(numbers: list[int], most: int = 5) -> str:
    return ", ".join(f"{n:,}" for n in numbers[:most]) + (f" and {len(numbers) - most:,} more" * (len(numbers) > most))
