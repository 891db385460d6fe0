"""Which DICOM files of a folder are one slide, and what each says of its level.

OpenSlide reads the pixels; here only the head of a file is looked at, as far as the resolution stands in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Instance", "dicom_files", "read_instance", "slide_series"]

_SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class "VL Whole Slide Microscopy Image Storage", DICOM PS3.4 B.5."""
_OTHER_SYNTAXES = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"})
"""Transfer syntaxes without types of values, with the high byte first, deflated (PS3.5 A.1, A.3, A.5): OpenSlide reads
none of them."""

_SYNTAX, _IMAGE_TYPE, _CLASS, _SERIES = 0x00020010, 0x00080008, 0x00080016, 0x0020000E
_COLUMNS, _ROWS, _TILE_COLUMNS, _TILE_ROWS = 0x00480006, 0x00480007, 0x00280011, 0x00280010
_SHARED, _MEASURES, _SPACING = 0x52009229, 0x00289110, 0x00280030
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_TYPES = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_WANTED = frozenset({_SYNTAX, _IMAGE_TYPE, _CLASS, _SERIES, _COLUMNS, _ROWS, _SPACING, _TILE_COLUMNS, _TILE_ROWS})

_MOST_BYTES, _MOST_ELEMENTS, _MOST_DEPTH = 4096, 20_000, 16
"""Most bytes of a value that is read, and of what is skipped: no header of a slide comes near them."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What one DICOM file says of itself.

    Attributes:
        path: The file.
        series: UID of its series, which is one slide in all its levels.
        is_level: Whether it is a level of a slide, and not its label, an overview, or no image of a slide at all.
        size: Width and height of the whole level, px; None if it does not say.
        spacing_mm: Size of a pixel across and down; None if it does not say.
        tile: Width and height of a tile, px; None if it does not say.
    """

    path: Path
    series: str
    is_level: bool
    size: tuple[int, int] | None = None
    spacing_mm: tuple[float, float] | None = None
    tile: tuple[int, int] | None = None


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files directly in a folder, sorted by name."""
    return [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".") and _is_dicom(p)]


def slide_series(folder: Path) -> list[list[Instance]]:
    """The slides directly in a folder, in order of their first file's name: all files of each one's series.

    Reports, annotations and images of other kinds are passed over.
    """
    by_series: dict[str, list[Instance]] = {}
    for path in dicom_files(folder):
        instance = read_instance(path)
        if instance is not None and instance.series:
            by_series.setdefault(instance.series, []).append(instance)
    return [series for series in by_series.values() if any(instance.is_level for instance in series)]


def read_instance(path: Path) -> Instance | None:
    """The head of a file; None where it is not a DICOM file or its head is damaged."""
    found: dict[int, bytes] = {}
    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return None
            for tag, value in _Walk(file).values():
                found.setdefault(tag, value)
        return Instance(
            path,
            _text(found.get(_SERIES)),
            _text(found.get(_CLASS)) == _SLIDE_IMAGE and "VOLUME" in _text(found.get(_IMAGE_TYPE)).split("\\"),
            _pair(found, "<I", _COLUMNS, _ROWS),
            _spacing(found),
            _pair(found, "<H", _TILE_COLUMNS, _TILE_ROWS),
        )
    except (OSError, ValueError, struct.error, EOFError):
        return None


class _Walk:
    """The elements of a file's head in order, into the one sequence that says the resolution."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_ELEMENTS

    def values(self) -> Iterator[tuple[int, bytes]]:
        """Tag and value of each that is wanted; the file stands behind its preamble."""
        while True:
            head = self._file.read(4)
            if len(head) < 4:
                return
            tag = self._tag(head)
            if tag > _SHARED:
                return  # what follows is of each frame by itself, and the pixels
            length = self._length(tag)
            if tag == _SHARED:
                yield from self._inside(length, depth=0)
            elif tag in _WANTED:
                value = self._value(length)
                if tag == _SYNTAX and _text(value) in _OTHER_SYNTAXES:
                    return
                yield tag, value
            else:
                self._skip(length)

    def _tag(self, head: bytes) -> int:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many elements")
        group, element = struct.unpack("<HH", head)
        return int(group << 16 | element)

    def _length(self, tag: int) -> int:
        """Number of bytes of the value, behind its type; what marks items has none."""
        if tag >> 16 == 0xFFFE:
            return self._number("<I", 4)
        if self._exactly(2) in _LONG_TYPES:
            self._exactly(2)
            return self._number("<I", 4)
        return self._number("<H", 2)

    def _inside(self, length: int, depth: int) -> Iterator[tuple[int, bytes]]:
        """The wanted values within a sequence, one of undefined length too."""
        if depth > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        end = None if length == _UNDEFINED else self._file.tell() + length
        while end is None or self._file.tell() < end:
            tag = self._tag(self._exactly(4))
            size = self._length(tag)
            if tag == _SEQUENCE_END:
                return
            if tag in (_ITEM, _ITEM_END):
                continue  # items are walked through as if they were one
            if tag == _MEASURES:
                yield from self._inside(size, depth + 1)
            elif tag in _WANTED:
                yield tag, self._value(size)
            else:
                self._skip(size, depth)

    def _skip(self, length: int, depth: int = 0) -> None:
        if length != _UNDEFINED:
            self._file.seek(length, 1)
            return
        for _ in self._inside(length, depth + 1):
            pass

    def _value(self, length: int) -> bytes:
        if length > _MOST_BYTES:
            raise ValueError("a value that is too long")
        return self._exactly(length)

    def _number(self, form: str, size: int) -> int:
        return int(struct.unpack(form, self._exactly(size))[0])

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data


def _text(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace").strip(" \0")


def _pair(found: dict[int, bytes], form: str, one: int, other: int) -> tuple[int, int] | None:
    try:
        return struct.unpack(form, found[one])[0], struct.unpack(form, found[other])[0]
    except (KeyError, struct.error):
        return None


def _spacing(found: dict[int, bytes]) -> tuple[float, float] | None:
    """DICOM states the distance of rows, then that of columns."""
    try:
        down, across = (float(part) for part in _text(found[_SPACING]).split("\\"))
    except (KeyError, ValueError):
        return None
    return (across, down) if across > 0 and down > 0 else None


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
