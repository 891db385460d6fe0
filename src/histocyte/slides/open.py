"""From a path to a reader, or one sentence why not; from folders and patterns to slides."""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import tifffile

from histocyte.core.errors import InputError, MissingExtraError, SlideError
from histocyte.slides.dicom import dicom_files, read_instance, slide_series
from histocyte.slides.image_reader import IMAGE_SUFFIXES, ImageBackend
from histocyte.slides.openslide_reader import OpenSlideBackend
from histocyte.slides.protocol import Backend, RefusedError, SlideReader
from histocyte.slides.reader import PyramidReader
from histocyte.slides.tiff_reader import TiffBackend

__all__ = ["SLIDE_SUFFIXES", "list_slides", "open_slide"]

_TIFF_SUFFIXES = frozenset({".btf", ".tf2", ".tf8", ".tif", ".tiff"})
_VENDOR_SUFFIXES = frozenset({".bif", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu"})
_SCAN_SUFFIXES = _TIFF_SUFFIXES | _VENDOR_SUFFIXES | {".dcm"}

SLIDE_SUFFIXES = _SCAN_SUFFIXES | IMAGE_SUFFIXES
"""Endings (lower case) of the files that count as slides in a folder."""

_SIDECAR_WORDS = ("", "label", "labels", "macro", "mask", "map", "overview", "thumb", "thumbnail", "preview")

_BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "OpenSlide": OpenSlideBackend,
    "TIFF": TiffBackend,
    "image": ImageBackend,
}


def open_slide(path: str | Path, *, mpp: float | None = None) -> SlideReader:
    """Open a slide or image.

    Args:
        path: A slide, an image, a DICOM file, or a folder of DICOM files (its first slide, and a note of others).
        mpp: Resolution of level 0, µm/px; needed where the file states none or a wrong one, and always for
            plain images (PNG, JPEG, WebP).

    Raises:
        SlideError: No such file, or no backend reads it; the message gives each one's reason.
        ResolutionError: The resolution is unknown or outside 0.05–10 µm/px.
        MissingExtraError: The file's compression needs the extra `tiff`.
    """
    path = Path(path)
    if not path.exists():
        raise SlideError(_no_such(path))
    reasons: list[str] = []
    missing: MissingExtraError | None = None
    for name in _order(path):
        try:
            return PyramidReader(partial(_BACKENDS[name], path), name=_name(path), path=path, mpp=mpp)
        except SlideError as error:
            reasons.append(f"{name}: {error}")
            if isinstance(error, RefusedError):
                break
        except MissingExtraError as error:
            missing = error
    if missing is not None:
        raise MissingExtraError(f"{path} needs one more package: {missing}") from missing
    raise SlideError(
        f"{path} cannot be opened ({'; '.join(reasons)}). Check that the file is whole, or convert it to a pyramidal "
        "OME-TIFF, e.g. with QuPath or bfconvert."
    )


def list_slides(paths: Sequence[str | Path]) -> list[Path]:
    """The slides among files, folders and patterns (`slides/*.svs`), in natural order, each once.

    A folder stands for the slides directly in it; DICOM files of one series are one slide. Other files in a folder are
    passed over, and so are thumbnails, masks and labels named after a slide beside them. A file given by
    name is taken as it is.

    Raises:
        InputError: A path does not exist, or one of them holds no slide.
    """
    found: dict[tuple[Path, str], Path] = {}
    for path in paths:
        slides = list(_expand(str(path)))
        if not slides:
            known = " ".join(sorted(SLIDE_SUFFIXES))
            raise InputError(f"No slide in {path}. A slide is a folder of DICOM files or ends in one of: {known}.")
        for slide in slides:
            found.setdefault(_identity(slide), slide)
    return sorted(found.values(), key=_natural)


def _expand(path: str) -> Iterator[Path]:
    given = Path(path)
    if given.is_dir():
        yield from _slides_in(given)
    elif given.exists():
        yield given
    elif glob.has_magic(path):
        for match in map(Path, glob.glob(path, recursive=True)):
            if match.is_dir():
                yield from _dicom_slides(match)
            elif _is_slide_name(match):
                yield match
    else:
        raise InputError(_no_such(given))


def _slides_in(folder: Path) -> Iterator[Path]:
    files = [p for p in folder.iterdir() if p.is_file() and _is_slide_name(p)]
    scans = [p for p in files if p.suffix.lower() not in {".dcm", *IMAGE_SUFFIXES}]
    images = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES]
    yield from scans
    stems = {_stem(p) for p in (*scans, *images)}
    scan_stems = {_stem(p) for p in scans}
    yield from (p for p in images if _stem(p) not in scan_stems and not _is_sidecar(_stem(p), stems))
    yield from _dicom_slides(folder)
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.name.startswith("."):
            yield from _dicom_slides(inside)


def _dicom_slides(folder: Path) -> Iterator[Path]:
    """The folder itself if its DICOM files are one slide or cannot be told apart, else a file of each slide."""
    if dicom_files(folder):
        series = slide_series(folder)
        if len(series) > 1:
            yield from (next(i.path for i in one if i.is_level) for one in series)
        else:
            yield folder


def _identity(slide: Path) -> tuple[Path, str]:
    """What two paths share that are one slide: their place and, of DICOM, their folder and series."""
    if slide.is_dir():
        series = slide_series(slide)
        return slide.resolve(), series[0][0].series if series else ""
    instance = read_instance(slide)
    return (slide.parent.resolve(), instance.series) if instance and instance.series else (slide.resolve(), "")


def _is_slide_name(path: Path) -> bool:
    return path.suffix.lower() in SLIDE_SUFFIXES and not path.name.startswith(".")


def _is_sidecar(stem: str, stems: set[str]) -> bool:
    """Whether it reads NAME_mask, NAME-thumbnail, ... of a slide that is there."""
    parent, _, word = stem.replace("-", "_").replace(".", "_").rpartition("_")
    return word.lower() in _SIDECAR_WORDS and any(parent == s.replace("-", "_").replace(".", "_") for s in stems)


def _stem(path: Path) -> str:
    return _name(path) if path.suffix else path.name


def _name(path: Path) -> str:
    """The file's name without its ending (`.ome.tif` as a whole); a folder's name as it is."""
    if path.is_dir():
        return path.resolve().name
    return re.sub(r"\.ome$", "", path.stem, flags=re.IGNORECASE)


def _order(path: Path) -> tuple[str, ...]:
    """Backends to try, the likeliest first."""
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".dcm":
        return ("OpenSlide",)
    if suffix in IMAGE_SUFFIXES:
        return ("image",)
    if suffix in _TIFF_SUFFIXES:
        # OpenSlide would see such a file's full resolution only: OME keeps the pyramid in SubIFDs.
        return ("TIFF", "OpenSlide") if _is_ome(path) else ("OpenSlide", "TIFF")
    if suffix in _VENDOR_SUFFIXES:
        return ("OpenSlide", "TIFF")
    return ("OpenSlide", "TIFF", "image")


def _is_ome(path: Path) -> bool:
    try:
        with tifffile.TiffFile(path) as file:
            return bool(file.is_ome)
    except (tifffile.TiffFileError, OSError, ValueError):
        return False


def _no_such(path: Path) -> str:
    near: list[str] = []
    if path.parent.is_dir():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    return f"No such file: {path}." + (f" Did you mean {path.parent / near[0]}?" if near else "")


def _natural(path: Path) -> tuple[tuple[tuple[int, int | str], ...], ...]:
    """Order by which slide2 comes before slide10."""
    return tuple(
        tuple(
            (0, int(piece)) if piece.isdigit() else (1, piece.casefold()) for piece in re.split(r"(\d+)", part) if piece
        )
        for part in path.parts
    )
