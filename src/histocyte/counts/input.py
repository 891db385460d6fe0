"""Where the cells of a finished result lie, of which class they are, and what was searched for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp, stated_origin, to_viewer
from histocyte.core.taxonomy import Taxonomy
from histocyte.files.foreign import foreign_parser
from histocyte.formats.geojson.cell_objects import cells_of
from histocyte.formats.geojson.objects import read_objects
from histocyte.formats.geojson.regions import read_polygons
from histocyte.formats.json_file import without_collection
from histocyte.formats.manifest import RUN_FILE, SlideFacts, read_manifest

__all__ = ["SAME_MPP", "LocatedCells", "read_located"]

SAME_MPP = 0.01
"""Resolutions of one slide may differ by so much, relatively: files round them."""


@dataclass(frozen=True, slots=True, eq=False)
class LocatedCells:
    """Centres and classes of the N cells of one result, in the viewer's frame (see `core.geometry`).

    Attributes:
        name: The slide's, or the file's.
        path: Where the cells were read from.
        xy: (N, 2) centres, px; of cells of the rim, which stand just beyond the outline of what was searched,
            the nearest place inside.
        kinds: (N,) index into `class_names`; -1 for a cell without a class.
        class_names: Classes that a cell may have.
        stated: Whether the result says which classes there are, so that one without cells was looked for; a GeoJSON
            file only has those that occur.
        mpp: Level-0 resolution, µm/px.
        searched: Where cells were looked for, px; None if the result does not say.
        size_px: Width and height of what viewers show of the slide; None if the result does not say.
        fingerprint: Fingerprint of the slide; empty if the result does not say.
        notes: What a reader should know, in sentences.
    """

    name: str
    path: Path
    xy: NDArray[np.float64]
    kinds: NDArray[np.int64]
    class_names: tuple[str, ...]
    stated: bool
    mpp: float
    searched: BaseGeometry | None
    size_px: tuple[int, int] | None
    fingerprint: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    xy: NDArray[np.float64]
    kinds: NDArray[np.int64]
    class_names: tuple[str, ...]
    stated: bool
    mpp: float | None
    notes: tuple[str, ...] = ()


def read_located(path: Path | str, *, mpp: float | None = None, fallback_mpp: float | None = None) -> LocatedCells:
    """Read a result folder of `histocyte segment`, its cells.parquet, or a GeoJSON file of QuPath.

    The run.json and tissue.geojson beside the cells say what was searched; paths inside run.json are not used, as a
    folder may have moved. Of a cells.parquet only the columns x, y and class are read.

    Args:
        path: Folder or file.
        mpp: Level-0 resolution, µm/px, for a file that does not say it.
        fallback_mpp: The same, with nothing said if the file says another.

    Raises:
        InputError: Not such a folder or file, or it says another resolution than `mpp`.
        ResolutionError: The resolution is missing or impossible.
    """
    path = Path(path)
    file = _file_in(path) if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"There is no '{path}'. Pass a result folder, a cells.parquet or a GeoJSON file of cells.")
    # Only files named as `segment` names them are its result: a hand-corrected GeoJSON beside them may not be.
    run = _run(file.parent) if file.name in _CELL_FILES else None
    with without_collection():
        table = _read_parquet(file) if file.suffix == ".parquet" else _read_geojson(file)
    stated_mpp = table.mpp if table.mpp is not None or run is None else run.mpp
    if stated_mpp is None:
        stated_mpp = mpp if mpp is not None else fallback_mpp
    if stated_mpp is None:
        raise InputError(f"'{file}' does not say its resolution. Pass µm per pixel of the slide as --mpp.")
    used_mpp = check_mpp(float(stated_mpp), what=f"'{file}'")
    if mpp is not None and abs(check_mpp(mpp) / used_mpp - 1) > SAME_MPP:
        raise InputError(f"'{file}' says {used_mpp:g} µm/px, --mpp says {mpp:g}. Leave --mpp out.")
    tissue = file.with_name("tissue.geojson")
    searched = _searched(tissue) if run and tissue.is_file() else None
    beyond_px = 0.0 if run is None else run.searched_beyond_um / used_mpp
    return LocatedCells(
        _stem(file) if run is None else run.name,
        file,
        table.xy if searched is None else _rim_moved_in(table.xy, searched, beyond_px),
        table.kinds,
        table.class_names,
        table.stated,
        used_mpp,
        searched,
        None if run is None else run.scanned_px,
        "" if run is None else str(run.signature.get("slide", "")),
        table.notes,
    )


def _searched(tissue: Path) -> BaseGeometry:
    try:
        region, _ = read_polygons(tissue)
        return region.geometry
    except InputError as error:
        raise InputError(f"'{tissue}' is damaged: it is not what 'histocyte segment' wrote. Run it again.") from error


def _rim_moved_in(xy: NDArray[np.float64], searched: BaseGeometry, beyond_px: float) -> NDArray[np.float64]:
    """Centres of which those up to `beyond_px` outside a region are moved to the nearest place inside.

    `segment` looks for cells a little beyond the tissue's outline. They belong to the tissue, and count with it.
    """
    outside = np.flatnonzero(~shapely.intersects_xy(searched, xy[:, 0], xy[:, 1]))
    if not beyond_px or not len(outside) or searched.is_empty:
        return xy
    ways = shapely.shortest_line(shapely.points(xy[outside]), searched)
    lengths = shapely.length(ways)
    # The margin was drawn on a thumbnail, in whole pixels of up to its own width.
    near = lengths <= 2 * beyond_px
    outside, ways, lengths = outside[near], ways[near], lengths[near]
    ends = shapely.get_coordinates(shapely.get_point(ways, 1))
    moved = xy.copy()
    # A hair beyond the edge, as a point on it may be rounded to either side.
    moved[outside] = ends + (ends - xy[outside]) / lengths[:, None] * _HAIR_PX
    return moved


_HAIR_PX = 0.01

_CELL_FILES = ("cells.parquet", "cells.geojson.gz")


def _file_in(folder: Path) -> Path:
    for name in _CELL_FILES:
        if (folder / name).is_file():
            if not (folder / RUN_FILE).is_file():
                raise InputError(f"'{folder}' has no run.json: it is not finished. Run 'histocyte segment' again.")
            return folder / name
    inside = sorted(p.parent.name for p in folder.glob(f"*/{RUN_FILE}"))
    hint = f" It holds results of slides: pass one, such as '{folder / inside[0]}'." if inside else ""
    raise InputError(f"'{folder}' is not a result: it has neither {' nor '.join(_CELL_FILES)}.{hint}")


def _run(folder: Path) -> SlideFacts | None:
    """What run.json says of the slide; None if there is none."""
    path = folder / RUN_FILE
    return read_manifest(path, SlideFacts) if path.is_file() else None


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".geojson").removesuffix(".json").removesuffix(".parquet")


def _read_parquet(file: Path) -> _Table:
    with foreign_parser(
        lambda why: InputError(
            f"'{file}' is not a table of cells by histocyte ({why}). Pass a cells.parquet of 'histocyte segment'."
        )
    ):
        # Not read_table: it would take a name=value in the folder's path for a column.
        with pq.ParquetFile(file) as opened:
            about = json.loads(opened.metadata.metadata[b"histocyte"])
            columns = opened.read(columns=["x", "y", "class"])
        names = Taxonomy.from_json(about["taxonomy"]).names
        kinds = _codes(columns["class"], names)
        xy = np.column_stack([columns["x"].to_numpy(), columns["y"].to_numpy()]).astype(np.float64)
        xy = to_viewer(xy, stated_origin(about))
        return _Table(xy, kinds, names, True, float(about["mpp"]))


def _codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> NDArray[np.int64]:
    """(N,) place of each name in `names`; -1 for any other."""
    if not len(column):
        return np.zeros(0, np.int64)
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    place = {name: i for i, name in enumerate(names)}
    lookup = np.array([place.get(str(name), -1) for name in encoded.dictionary.to_pylist()] + [-1], np.int64)
    return lookup[encoded.indices.fill_null(len(lookup) - 1).to_numpy()]


def _read_geojson(file: Path) -> _Table:
    cells = cells_of(read_objects(file), need_outlines=False)
    called = cells.class_names()
    names = tuple(dict.fromkeys(name for name in called if name is not None))
    place = {name: i for i, name in enumerate(names)}
    kinds = np.array([-1 if name is None else place[name] for name in called], np.int64)
    return _Table(cells.centres(), kinds, names, False, None, cells.notes)
