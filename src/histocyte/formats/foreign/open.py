"""Files of cells by path: which format a file is, and which files a folder holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.files.foreign import broken_link, refuse_broken_link
from histocyte.formats.foreign.contents import CellFile
from histocyte.formats.foreign.geojson import read_geojson_cells
from histocyte.formats.foreign.json_outlines import is_json_outlines, read_json_outlines
from histocyte.formats.foreign.label_map import read_image, read_mat, read_npy, read_npz, read_tiff
from histocyte.formats.foreign.parquet import read_parquet_cells
from histocyte.formats.geojson.objects import is_geojson
from histocyte.formats.json_file import load_json, without_collection

__all__ = ["FORMATS", "find_cells", "open_cells"]

FORMATS = "GeoJSON, JSON of HoVer-Net or CellViT, .mat of HoVer-Net, label maps (.png, .tif, .npy, .npz), cells.parquet"
"""What is read, for messages."""

_TABLE = "cells.parquet"
_SUFFIXES = (".npz", ".mat", ".npy", ".parquet", ".geojson", ".json", ".tif", ".tiff", ".png")
"""If a name comes with several, the first is read: pictures lie beside labels more often than the other way round."""

_OTHER = ("classes.json", "run.json", "tissue.geojson")
"""Files of these names hold no cells."""

_READERS = (
    (b"PAR1", read_parquet_cells),
    (b"\x89PNG", read_image),
    (b"II*\0", read_tiff),
    (b"MM\0*", read_tiff),
    (b"II+\0", read_tiff),
    (b"MM\0+", read_tiff),
    (b"PK\x03\x04", read_npz),
    (b"\x93NUMPY", read_npy),
    (b"MATLAB", read_mat),
)
"""By the first bytes of the file, so that a wrong name does no harm."""


def open_cells(path: Path, *, names: dict[int, str] | None = None) -> CellFile:
    """Read cells, whatever the format.

    Classes that the file has as codes alone are named by a classes.json beside it, {"1": "name", ...}, if there is one.

    Args:
        path: A file, or the folder of a result of `histocyte segment`.
        names: Class code → name for files that have codes alone, rather than those of a classes.json.

    Raises:
        InputError: No such file, a format that is not known, or a broken file.
    """
    path = path / _TABLE if (path / _TABLE).is_file() else path
    refuse_broken_link(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}. Pass a file of cells: {FORMATS}.") from error
    for start, read in _READERS:
        if head.startswith(start):
            return _named(read(path), names)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")) or text[:1] in (b"{", b"["):
        with without_collection():
            cells = _read_json(path)
        return _named(cells, names)
    raise InputError(f"'{path}' is in no format of cells that is known: {FORMATS}.")


def find_cells(path: Path) -> dict[str, Path]:
    """The files of cells by the name of their image: one file, or those of a folder.

    Raises:
        InputError: There is nothing of the kind.
    """
    if path.is_file():
        return {_stem(path): path}
    if not path.is_dir():
        raise InputError(f"There is no '{path}'. Pass a file of cells, or a folder of them: {FORMATS}.")
    if (path / _TABLE).is_file():
        return {path.resolve().name: path / _TABLE}
    found: dict[str, Path] = {}
    for entry in sorted(path.iterdir()):
        if (entry / _TABLE).is_file():
            found[entry.name] = entry / _TABLE
        elif (
            (entry.is_file() or broken_link(entry)) and entry.name not in _OTHER and (rank := _rank(entry)) is not None
        ):
            name = _stem(entry)
            other = None if name not in found else _rank(found[name])
            if other is None or rank < other:
                found[name] = entry
    if not found:
        raise InputError(f"'{path}' holds no files of cells: {FORMATS}.")
    return found


def _rank(path: Path) -> int | None:
    suffix = path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix
    return _SUFFIXES.index(suffix.lower()) if suffix.lower() in _SUFFIXES else None


def _stem(path: Path) -> str:
    return path.with_suffix("").stem if path.suffix.lower() == ".gz" else path.stem


def _read_json(path: Path) -> CellFile:
    data = load_json(path)
    if is_json_outlines(data):
        return read_json_outlines(data, path)
    if is_geojson(data):
        return read_geojson_cells(data, path)
    keys = ", ".join(list(map(str, data))[:5]) if isinstance(data, dict) else f"a list of {len(data)}"
    raise InputError(
        f"'{path}' has neither 'nuc' (HoVer-Net) nor 'cells' (CellViT) nor 'features' (GeoJSON); it has: {keys}."
    )


def _named(cells: CellFile, names: dict[int, str] | None) -> CellFile:
    path = cells.path.parent / "classes.json"
    if names and not cells.class_names:
        return replace(cells, class_names=names)
    if cells.class_names or not cells.types.any() or not path.is_file():
        return cells
    data = load_json(path)
    try:
        return replace(cells, class_names={int(code): str(name) for code, name in data.items()})
    except (AttributeError, ValueError) as error:
        raise InputError(f'\'{path}\' is not a list of classes, {{"1": "name", …}} ({error}).') from error
