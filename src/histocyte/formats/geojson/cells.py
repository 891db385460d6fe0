"""Cells as GeoJSON for QuPath: a FeatureCollection with one detection a cell.

Coordinates are px of the picture that QuPath shows (level 0 counted from the cells' origin, see `core.geometry`),
rounded to 0.01; ids are UUIDs whose last twelve digits are the cell's row in cells.parquet.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import orjson
import shapely

from histocyte.core.cells import Cells
from histocyte.core.errors import InputError, UnknownNameError
from histocyte.core.geometry import check_mpp, from_viewer, to_viewer
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.export.cell_writer import CellWriter
from histocyte.export.wkb import closed_rings
from histocyte.files.atomic import write_atomically

__all__ = ["GeoJsonWriter", "read_geojson", "write_geojson"]

_AREA, _CLASS_PROBABILITY, _SCORE = "Area µm²", "Class probability", "Detection score"
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
        self._measured = [_AREA, _SCORE]
        if self._classes:
            self._measured += [_CLASS_PROBABILITY, *(f"P({name})" for name in taxonomy.names)]
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
        columns = [np.round(cells.area_um2.astype(np.float64), 3), np.round(cells.scores.astype(np.float64), 4)]
        if self._classes:
            columns += [np.round(cells.class_prob.astype(np.float64), 4)]
            columns += list(np.round(cells.probabilities.astype(np.float64), 4).T)
        measured, kinds = np.stack(columns, axis=1).tolist(), cells.class_index.tolist()
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
    """Read detections or cells: what `GeoJsonWriter` wrote, also after QuPath had it. Holds all in memory.

    Centres are those of the polygons. Without our measurements the area is the polygon's, the class is
    certain and so is the detection.

    Args:
        path: .geojson or .geojson.gz.
        taxonomy: Classes that the file's names are looked up in; made up from the file where None.
        mpp: Level-0 resolution of the slide, µm/px; GeoJSON does not say it.
        origin: Level-0 (x, y) of the picture's corner that the file counts from (`SlideReader.origin`).

    Raises:
        InputError: Not GeoJSON, a feature is not a polygon, or its class is not in the taxonomy.
        ResolutionError: An impossible resolution.
    """
    path, mpp = Path(path), check_mpp(mpp)
    features = _load(path)
    rings = [_ring(feature, i, path) for i, feature in enumerate(features)]
    properties = [feature.get("properties") or {} for feature in features]
    taxonomy = taxonomy or _taxonomy_of(properties)
    if not features:
        return Cells.empty(taxonomy, mpp, origin)
    offsets = np.concatenate([[0], np.cumsum([len(ring) for ring in rings])]).astype(np.int64)
    contour_xy = np.concatenate([np.asarray(ring, np.float64)[:, :2] for ring in rings])
    polygons = shapely.polygons([shapely.linearrings(ring) for ring in rings])
    measured = [_measurements(p) for p in properties]
    areas = shapely.area(polygons) * mpp**2
    return Cells(
        xy=from_viewer(shapely.get_coordinates(shapely.centroid(polygons)), origin),
        contour_xy=from_viewer(contour_xy, origin),
        contour_offsets=offsets,
        area_um2=np.array([m.get(_AREA, a) for m, a in zip(measured, areas, strict=True)], np.float32),
        probabilities=_probabilities(properties, measured, taxonomy),
        scores=np.array([m.get(_SCORE, 1.0) for m in measured], np.float32),
        taxonomy=taxonomy,
        mpp=mpp,
        origin=origin,
    )


def _id_prefix(seed: str) -> str:
    """The first 24 characters of a UUID of the free-form version 8."""
    digits = hashlib.sha256(seed.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-8{digits[15:18]}-"


def _load(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
        data = orjson.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is not GeoJSON ({error}). Export it anew from QuPath or histocyte.") from error
    features = data.get("features", [data]) if isinstance(data, dict) else data
    if not isinstance(features, list) or not all(isinstance(f, dict) and "geometry" in f for f in features):
        raise InputError(
            f"{path} is JSON but not a GeoJSON FeatureCollection. Export it anew from QuPath or histocyte."
        )
    return features


def _ring(feature: Mapping[str, Any], i: int, path: Path) -> list[list[float]]:
    """The open outer ring; of a cell with nucleus that of the nucleus."""
    geometry = feature.get("nucleusGeometry") or feature["geometry"] or {}
    ring = geometry["coordinates"][0] if geometry.get("type") == "Polygon" and geometry.get("coordinates") else []
    if len(ring) < 4:
        raise InputError(
            f"Feature {i} of {path} is a {geometry.get('type', 'nothing')} of {len(ring)} points and cannot be a cell. "
            "Each cell must be one Polygon; remove the others in QuPath."
        )
    return cast(list[list[float]], ring[:-1])


def _measurements(properties: Mapping[str, Any]) -> dict[str, float]:
    """QuPath before 0.4 wrote a list of name and value."""
    listed = properties.get("measurements") or {}
    if isinstance(listed, list):
        return {entry["name"]: entry["value"] for entry in listed}
    return dict(listed)


def _class_name(properties: Mapping[str, Any]) -> str | None:
    classification = properties.get("classification") or {}
    names = classification.get("names")
    return ": ".join(names) if names else classification.get("name")


def _taxonomy_of(properties: Sequence[Mapping[str, Any]]) -> Taxonomy:
    """Classes in the order of the first cell's P(...) measurements, then of appearance."""
    first = _measurements(properties[0]) if properties else {}
    colours = {name[2:-1]: _UNKNOWN_COLOUR for name in first if name.startswith("P(") and name.endswith(")")}
    for of_cell in properties:
        name = _class_name(of_cell)
        if name is not None and colours.get(name, _UNKNOWN_COLOUR) == _UNKNOWN_COLOUR:
            red, green, blue = of_cell["classification"].get("color") or _UNKNOWN_COLOUR
            colours[name] = (int(red), int(green), int(blue))
    return Taxonomy("geojson", tuple(CellClass(name, colour) for name, colour in colours.items()))


def _probabilities(
    properties: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, float]], taxonomy: Taxonomy
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(N, K), such that the most probable class is the one named."""
    found = np.zeros((len(properties), len(taxonomy)), np.float32)
    keys = [f"P({name})" for name in taxonomy.names]
    for i, (of_cell, values) in enumerate(zip(properties, measured, strict=True)):
        name = _class_name(of_cell)
        if name is not None and name not in taxonomy.names:
            raise UnknownNameError("class", name, taxonomy.names)
        if keys and all(key in values for key in keys):
            found[i] = [values[key] for key in keys]
        if name is not None and (taxonomy.names[found[i].argmax()] != name or not found[i].any()):
            # Only the class is known, or someone corrected it in QuPath: the name counts.
            found[i] = [n == name for n in taxonomy.names]
    return found
