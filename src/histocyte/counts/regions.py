"""The regions that cells are counted in: those drawn on the slide, or all that was searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from histocyte.core.errors import InputError
from histocyte.core.names import distinct_names
from histocyte.formats.geojson.regions import read_polygons
from histocyte.slides.region import polygonal

__all__ = ["SEARCHED", "Drawn", "drawn_on"]

SEARCHED = "searched tissue"
"""Name of the region where none was drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A region to count in: its name, all of it (None if unknown), what of it was searched; in the viewer's frame."""

    name: str
    whole: BaseGeometry | None
    searched: BaseGeometry | None


def drawn_on(searched: BaseGeometry | None, roi: Path | str | None) -> tuple[list[Drawn], list[str]]:
    """The regions to count in, and notes on them.

    Args:
        searched: Where cells were looked for, in the viewer's frame; None if unknown: then all of each region.
        roi: GeoJSON with polygons; all of what was searched where None.

    Raises:
        InputError: There is no polygon, or none in what was searched.
    """
    if roi is None:
        return [Drawn(SEARCHED if searched is not None else "whole result", searched, searched)], []
    region, notes = read_polygons(roi)
    if not region.parts:
        raise InputError(
            f"'{roi}' holds no polygon. Draw an annotation with an area in QuPath and export it as GeoJSON."
        )
    if searched is None:
        notes.append("What was searched is not known; all of each region is taken as searched.")
    inside = list(region.parts) if searched is None else _searched_of(region.parts, searched)
    drawn = [Drawn(*each) for each in zip(distinct_names(region.names), region.parts, inside, strict=True)]
    if all(d.searched is not None and d.searched.is_empty for d in drawn):
        raise InputError(
            f"No region of '{roi}' lies in the searched tissue. Coordinates must be full-resolution pixels of this "
            "slide: is it the region of another one?"
        )
    return drawn, notes


def _searched_of(parts: Sequence[BaseGeometry], searched: BaseGeometry) -> list[BaseGeometry]:
    """What of each part was searched; most lie wholly in it, and of these nothing has to be cut."""
    shapely.prepare(searched)
    whole = shapely.covers(searched, np.array(parts, object))
    return [
        part if covered else polygonal(shapely.intersection(part, searched))
        for part, covered in zip(parts, whole, strict=True)
    ]
