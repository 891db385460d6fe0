"""From files, folders and patterns to slides, and to what lies beside slides and is none."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.files.foreign import broken_link
from histocyte.slides.dicom import dicom_files, read_instance, slide_series
from histocyte.slides.image_reader import IMAGE_SUFFIXES
from histocyte.slides.open import SLIDE_SUFFIXES, no_such, slide_name

__all__ = ["FoundSlides", "find_slides", "list_slides"]

_SIDE_WORD = re.compile(
    "(annotation|binary|class|classe|contour|gt|heatmap|inst|instance|label|macro|map|mask|outline|overlay|overview|"
    "pred|prediction|preview|seg|segmentation|thumb|thumbnail|truth|type)s?"
)
"""What ends the names of pictures about a slide, or is the name of their folder."""

_MAY_BE_ABOUT_A_SLIDE = IMAGE_SUFFIXES | {".tif", ".tiff"}
_RESULT_SIGNS = ("run.json", ".journal")


@dataclass(frozen=True, slots=True)
class FoundSlides:
    """What files, folders and patterns hold.

    Attributes:
        slides: In natural order, each once.
        passed_over: Files that could be slides, but are taken for pictures about one, in natural order.
    """

    slides: list[Path]
    passed_over: list[Path] = field(default_factory=list)


def find_slides(
    paths: Sequence[str | Path], *, recursive: bool = True, results: str | Path | None = None
) -> FoundSlides:
    """The slides among files, folders and patterns (`slides/*.svs`).

    A folder stands for the slides in it and in its folders; DICOM files of one series are one slide. Passed over are
    other files, hidden ones, results of `segment`, and pictures about a slide: `a.png` beside `a.svs`; `a_mask.png` and
    `a-tissue-overlay.tif` beside a slide `a`; in folders of the folder also a `mask.png`, and what lies in a folder
    `masks`. A file given by name or pattern is taken as it is.

    Args:
        paths: What was given.
        recursive: Whether to look into the folders of a folder; without it, DICOM folders in it alone are found.
        results: A folder that is not looked into.

    Raises:
        InputError: A path does not exist, or one of them holds no slide.
    """
    found: dict[tuple[Path, str], Path] = {}
    passed_over: dict[Path, Path] = {}
    for path in map(str, paths):
        search = _Search(recursive, None if results is None else Path(results).resolve())
        slides = list(search.expand(path))
        if not slides:
            raise InputError(_nothing_in(path, sorted(search.passed_over, key=_natural), recursive))
        for slide in slides:
            found.setdefault(_identity(slide), slide)
        for other in search.passed_over:
            passed_over.setdefault(other.resolve(), other)
    others = [other for place, other in passed_over.items() if (place, "") not in found]
    return FoundSlides(sorted(found.values(), key=_natural), sorted(others, key=_natural))


def list_slides(paths: Sequence[str | Path], *, recursive: bool = True) -> list[Path]:
    """The slides that `find_slides` finds.

    Raises:
        InputError: A path does not exist, or one of them holds no slide.
    """
    return find_slides(paths, recursive=recursive).slides


def _nothing_in(path: str, passed_over: Sequence[Path], recursive: bool) -> str:
    known = " ".join(sorted(SLIDE_SUFFIXES))
    deeper = "" if recursive or not Path(path).is_dir() else " Its folders were not looked into."
    if passed_over:
        named = f"'{passed_over[0].name}'" + (f" and {len(passed_over) - 1} more" if len(passed_over) > 1 else "")
        return f"No slide in {path}: {named} are taken for pictures about slides. Name such a file itself.{deeper}"
    return f"No slide in {path}. A slide is a folder of DICOM files or ends in one of: {known}.{deeper}"


class _Search:
    """Expands one path, and notes what it passes over."""

    def __init__(self, recursive: bool, results: Path | None) -> None:
        self.passed_over: list[Path] = []
        self._recursive, self._results = recursive, results
        self._seen: set[Path] = set()

    def expand(self, path: str) -> Iterator[Path]:
        given = Path(path)
        if given.is_dir():
            yield from self._slides_in(given, named=True)
        elif given.exists() or broken_link(given):
            yield given  # a link that leads nowhere is named where it is opened
        elif glob.has_magic(path):
            for match in map(Path, glob.glob(path, recursive=True)):
                if match.is_dir():
                    yield from _dicom_slides(match)
                elif _is_slide_file(match):
                    yield match
        else:
            raise InputError(no_such(given))

    def _slides_in(self, folder: Path, *, named: bool) -> Iterator[Path]:
        place = folder.resolve()
        if place in self._seen:  # by a link
            return
        self._seen.add(place)
        files = [p for p in sorted(folder.iterdir()) if _is_slide_file(p) and (p.is_file() or broken_link(p))]
        about = set(_about_slides(files, folder=None if named else folder.name))
        self.passed_over += about
        yield from (p for p in files if p not in about and p.suffix.lower() != ".dcm")
        yield from _dicom_slides(folder)
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith(".") and not self._is_left_out(inner, files):
                if self._recursive:
                    yield from self._slides_in(inner, named=False)
                else:
                    yield from _dicom_slides(inner)

    def _is_left_out(self, folder: Path, files: Sequence[Path]) -> bool:
        """Whether a folder holds results, or the data of a scan that lies beside it."""
        if folder.resolve() == self._results or any((folder / sign).exists() for sign in _RESULT_SIGNS):
            return True
        return any(p.stem == folder.name and p.suffix.lower() == ".mrxs" for p in files)


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


def _is_slide_file(path: Path) -> bool:
    return path.suffix.lower() in SLIDE_SUFFIXES and not path.name.startswith(".")


def _about_slides(files: Sequence[Path], *, folder: str | None) -> Iterator[Path]:
    """Those of a folder's files that are pictures about a slide, by their names.

    Args:
        files: All of one folder that could be slides.
        folder: Its name; None where the user named it, who then means what is in it.
    """
    scans = {slide_name(p) for p in files if p.suffix.lower() not in {".dcm", *IMAGE_SUFFIXES}}
    names = {_words(p) for p in files}
    for path in files:
        if path.suffix.lower() not in _MAY_BE_ABOUT_A_SLIDE:
            continue
        words = _words(path)
        named_after = any(words[:n] in names for n in range(1, len(words)))
        ends_so = not words[-1] or _SIDE_WORD.fullmatch(words[-1])
        same_as_scan = path.suffix.lower() in IMAGE_SUFFIXES and slide_name(path) in scans
        alone = folder is not None and any(map(_SIDE_WORD.fullmatch, (folder.lower(), "_".join(words))))
        if same_as_scan or alone or (ends_so and named_after):
            yield path


def _words(path: Path) -> tuple[str, ...]:
    return tuple(re.split(r"[-_. ]", slide_name(path).lower()))


def _natural(path: Path) -> tuple[tuple[tuple[int, int | str], ...], ...]:
    """Order by which slide2 comes before slide10."""
    return tuple(
        tuple(
            (0, int(piece)) if piece.isdigit() else (1, piece.casefold()) for piece in re.split(r"(\d+)", part) if piece
        )
        for part in path.parts
    )
