"""Regions drawn on a slide, from GeoJSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from histocyte.core.errors import InputError
from histocyte.core.names import counted, some_names
from histocyte.formats.geojson.objects import read_objects
from histocyte.formats.geojson.outlines import outlines_of
from histocyte.slides.protocol import SlideReader
from histocyte.slides.region import Region, polygonal

__all__ = ["read_polygons", "read_roi"]


def read_polygons(path: str | Path, *, origin: tuple[int, int] = (0, 0)) -> tuple[Region, list[str]]:
    """Regions of GeoJSON as they are drawn (see `Objects.regions`), and notes on what is none; empty if there is none.

    A part's name is the object's name, else its class, else `region N`. What has no area is passed over.

    Args:
        path: Path of the file, gzipped or not.
        origin: Level-0 (x, y) of the corner that the file counts from (see `outlines`).

    Raises:
        InputError: Not such a file, or an outline in it is broken.
    """
    path = Path(path)
    objects, notes = read_objects(path).regions()
    outlines = outlines_of(objects, origin=origin)
    shapes = outlines.geometries()
    wrong = ~shapely.is_valid(shapes)
    shapes[wrong] = shapely.make_valid(shapes[wrong])
    called = objects.names()
    parts: list[BaseGeometry] = []
    names: list[str] = []
    for row, shape in zip(outlines.objects, shapes, strict=True):
        part = polygonal(shape)
        if not part.is_empty:
            parts.append(part)
            names.append(called[row] or f"region {len(parts)}")
    if lost := len(objects) - len(parts):
        notes.append(f"'{path.name}': left out, as they have no area: {lost:,} of {counted(len(objects), 'object')}.")
    return Region(tuple(parts), tuple(names)), notes


def read_roi(path: str | Path, reader: SlideReader) -> tuple[Region, list[str]]:
    """Regions drawn on a slide in a viewer (see `read_polygons`), level-0 px, and notes on what of them is not on it.

    What hangs over the slide's edge is cut off.

    Raises:
        InputError: Not such a file, no polygon in it, or none of them on the slide.
    """
    drawn, notes = read_polygons(path, origin=reader.bounds.corner)
    if not drawn.parts:
        raise InputError(
            f"'{path}' holds no polygon. Draw an annotation with an area in QuPath and export it as GeoJSON."
        )
    slide = shapely.box(0, 0, *reader.size)
    cut = [polygonal(part.intersection(slide)) for part in drawn.parts]
    left = np.array([part.area for part in cut]) / [part.area for part in drawn.parts]
    width, height = reader.bounds.width, reader.bounds.height
    if not left.any():
        raise InputError(
            f"All regions of '{path}' lie outside slide {reader.name} ({width} × {height} px). Coordinates must be "
            "full-resolution pixels of this slide as QuPath shows it: is it the region of another one?"
        )
    for which, what in (
        (left == 0, f"Outside the slide ({width} × {height} px), and not searched"),
        ((left > 0) & (left < 0.9995), "Over the slide's edge, and searched only where they lie on it"),
    ):
        if which.any():
            named = some_names(list(dict.fromkeys(drawn.names[i] for i in np.flatnonzero(which))))
            notes.append(f"{what}: {which.sum():,} of {counted(len(cut), 'region')}, {named}.")
    kept = [i for i, part in enumerate(cut) if not part.is_empty]
    return Region(tuple(cut[i] for i in kept), tuple(drawn.names[i] for i in kept)), notes
