"""Cells as GeoJSON for QuPath: a FeatureCollection with one detection a cell.

Coordinates are px of the picture that QuPath shows (level 0 counted from the cells' origin, see `core.geometry`),
rounded to 0.01; ids are UUIDs whose last twelve digits are the cell's row in cells.parquet.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from histocyte.core.cell_columns import column_named, columns_of, titles
from histocyte.core.cells import Cells
from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.geometry import check_mpp, to_viewer
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.files.atomic import write_atomically
from histocyte.formats.cell_writer import CellWriter
from histocyte.formats.geojson.cell_objects import cells_of
from histocyte.formats.geojson.objects import read_objects
from histocyte.formats.geojson.outlines import Outlines
from histocyte.formats.json_file import without_collection
from histocyte.formats.wkb import closed_rings

__all__ = ["GeoJsonWriter", "read_geojson", "write_geojson"]

_AREA, _SCORE = column_named("area_um2").title, column_named("score").title
_AT_ONCE = 8192
_GZIP_LEVEL = 1
"""Level 6 takes four times as long for files a tenth smaller."""
_UNKNOWN_COLOUR = (128, 128, 128)


class GeoJsonWriter(CellWriter):
    """Writes cells as they stream by; a context manager at whose end the file appears.

    Args:
        path: The file; gzipped if its name ends in .gz.
        taxonomy: Classes of the cells.
        seed: Goes into the features' ids, e.g. the slide's fingerprint; the same seed gives the same ids.

    Raises:
        DiskError: The file cannot be written.
    """

    def __init__(self, path: Path, taxonomy: Taxonomy, *, seed: str = "") -> None:
        self._path = path
        self._id_prefix = _id_prefix(seed)
        self._classes = [
            orjson.Fragment(orjson.dumps({"name": c.name, "color": list(c.colour)})) for c in taxonomy.classes
        ]
        numbers = [c for c in columns_of(classes=len(taxonomy), vectors=False) if self._classes or not c.of_class]
        self._columns = sorted(numbers, key=lambda column: column.of_class)
        self._measured = [title for column in self._columns for title in titles(column, taxonomy.names)]
        self._rows = 0

    def write(self, cells: Cells) -> None:
        """Append cells.

        Raises:
            DiskError: The disk is full.
        """
        for start in range(0, len(cells), _AT_ONCE):
            some = cells if len(cells) <= _AT_ONCE else cells.take(np.arange(start, min(len(cells), start + _AT_ONCE)))
            features = orjson.dumps(self._features(some), option=orjson.OPT_SERIALIZE_NUMPY)
            self._file.write(b",\n" if self._rows else b"\n")
            self._file.write(memoryview(features)[1:-1])
            self._rows += len(some)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(write_atomically(self._path))
            if self._path.suffix == ".gz":
                # No time and no name inside: the same cells give the same bytes.
                packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0)
                file = cast(IO[bytes], stack.enter_context(packed))
            self._file = file
            file.write(b'{"type":"FeatureCollection","features":[')
            yield
            file.write(b"\n]}\n")

    def _features(self, cells: Cells) -> list[dict[str, Any]]:
        points, offsets = closed_rings(cells)
        points = np.round(to_viewer(points, cells.origin), 2)
        ends = offsets.tolist()
        columns = [np.round(getattr(cells, c.attribute).astype(np.float64), c.decimals) for c in self._columns]
        measured, kinds = np.column_stack(columns).tolist(), cells.class_index.tolist()
        features = []
        for i in range(len(cells)):
            properties: dict[str, Any] = {"objectType": "detection"}
            if self._classes:
                properties["classification"] = self._classes[kinds[i]]
            properties["measurements"] = dict(zip(self._measured, measured[i], strict=True))
            features.append(
                {
                    "type": "Feature",
                    "id": f"{self._id_prefix}{self._rows + i:012x}",
                    "geometry": {"type": "Polygon", "coordinates": [points[ends[i] : ends[i + 1]]]},
                    "properties": properties,
                }
            )
        return features


def write_geojson(path: Path, cells: Cells, *, seed: str = "") -> None:
    """Write cells that are in memory (see `GeoJsonWriter`).

    Raises:
        DiskError: The file cannot be written.
    """
    with GeoJsonWriter(path, cells.taxonomy, seed=seed) as writer:
        writer.write(cells)


def read_geojson(
    path: Path | str, taxonomy: Taxonomy | None = None, *, mpp: float, origin: tuple[int, int] = (0, 0)
) -> Cells:
    """Read the cells of a file (see `cells_of`): what `GeoJsonWriter` wrote, also after QuPath had it.

    All are held in memory. Centres are those of the polygons, and holes are filled. Without our measurements the area
    is the polygon's, the class is certain and so is the detection.

    Args:
        path: .geojson or .geojson.gz.
        taxonomy: Classes that the file's names are looked up in; made up from the file where None.
        mpp: Level-0 resolution of the slide, µm/px; GeoJSON does not say it.
        origin: Level-0 (x, y) of the picture's corner that the file counts from (`SlideReader.origin`).

    Raises:
        InputError: Not GeoJSON, a cell is not one polygon, or its class is not in the taxonomy.
        ResolutionError: An impossible resolution.
    """
    path, mpp = Path(path), check_mpp(mpp)
    with without_collection():
        cells = cells_of(read_objects(path), need_outlines=True, origin=origin)
        measured, classes = cells.measurements(), cells.class_names()
        taxonomy = taxonomy or _taxonomy_of(classes, cells.features(), measured)
    if not len(cells):
        return Cells.empty(taxonomy, mpp, origin)
    outlines = cells.outlines
    pieces = np.diff(outlines.shapes)
    if (pieces > 1).any():
        where = cells.objects.number(int(outlines.objects[pieces.argmax()]))
        raise InputError(
            f"'{path}': {where} has {pieces.max()} pieces; each cell must be one Polygon. Split it in QuPath."
        )
    rings = _outer_rings(outlines)
    polygons = shapely.polygons([shapely.linearrings(ring) for ring in rings])
    areas = shapely.area(polygons) * mpp**2
    return Cells(
        xy=shapely.get_coordinates(shapely.centroid(polygons)),
        contour_xy=np.concatenate(rings),
        contour_offsets=np.concatenate([[0], np.cumsum([len(ring) for ring in rings])]).astype(np.int64),
        area_um2=np.array(
            [a if (m := of.get(_AREA)) is None else m for of, a in zip(measured, areas, strict=True)], np.float32
        ),
        probabilities=_probabilities(classes, measured, taxonomy),
        scores=np.array([1.0 if (m := of.get(_SCORE)) is None else m for of in measured], np.float32),
        taxonomy=taxonomy,
        mpp=mpp,
        origin=origin,
    )


def _id_prefix(seed: str) -> str:
    """The first 24 characters of a UUID of the free-form version 8."""
    digits = hashlib.sha256(seed.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-8{digits[15:18]}-"


def _outer_rings(outlines: Outlines) -> list[NDArray[np.float64]]:
    """The outer ring of each, open: without its first point at its end."""
    first = outlines.polygons[outlines.shapes[:-1]]
    rings = [outlines.xy[a:b] for a, b in zip(outlines.rings[first], outlines.rings[first + 1], strict=True)]
    return [ring[:-1] if len(ring) > 3 and (ring[0] == ring[-1]).all() else ring for ring in rings]


def _taxonomy_of(
    classes: Sequence[str | None], features: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]
) -> Taxonomy:
    """Classes in the order of the first cell's P(...) measurements, then of appearance."""
    first = measured[0] if measured else {}
    colours = {name[2:-1]: _UNKNOWN_COLOUR for name in first if name.startswith("P(") and name.endswith(")")}
    for name, feature in zip(classes, features, strict=True):
        if name is not None and colours.get(name, _UNKNOWN_COLOUR) == _UNKNOWN_COLOUR:
            colours[name] = _colour(feature["properties"]["classification"])
    return Taxonomy("geojson", tuple(CellClass(name, colour) for name, colour in colours.items()))


def _colour(classification: object) -> tuple[int, int, int]:
    """Colour of a class: [r, g, b], or as QuPath 0.2 wrote it the three bytes of one number."""
    stated = classification if isinstance(classification, dict) else {}
    colour, packed = stated.get("color"), stated.get("colorRGB")
    if isinstance(packed, int):
        colour = [packed >> 16 & 255, packed >> 8 & 255, packed & 255]
    if isinstance(colour, list) and len(colour) >= 3 and all(isinstance(c, int) and 0 <= c <= 255 for c in colour[:3]):
        return colour[0], colour[1], colour[2]
    return _UNKNOWN_COLOUR


def _probabilities(
    classes: Sequence[str | None], measured: Sequence[Mapping[str, float | None]], taxonomy: Taxonomy
) -> NDArray[np.float32]:
    """(N, K), such that the most probable class is the one named."""
    found = np.zeros((len(classes), len(taxonomy)), np.float32)
    keys = titles(column_named("probabilities"), taxonomy.names)
    for i, (name, values) in enumerate(zip(classes, measured, strict=True)):
        if name is not None and name not in taxonomy.names:
            raise UnknownNameError("class", name, taxonomy.names)
        row = [values.get(key) for key in keys]
        if keys and None not in row:
            found[i] = row
        if name is not None and (taxonomy.names[found[i].argmax()] != name or not found[i].any()):
            # Only the class is known, or someone corrected it in QuPath: the name counts.
            found[i] = [n == name for n in taxonomy.names]
    return found
