"""The one slide reader: any backend's levels in, RGB at any resolution out."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import HistocyteError, ResolutionError, SlideError
from histocyte.core.geometry import MPP_MAX, MPP_MIN, Box, check_mpp
from histocyte.core.names import counted
from histocyte.files.foreign import foreign_parser, reason_of, size_fault
from histocyte.slides.levels import downsample_of
from histocyte.slides.protocol import Backend, Level, StoredLevel, working_size
from histocyte.slides.resample import resample, source_span

__all__ = ["PyramidReader"]

_MAX_SOURCE_PX = 1 << 22
"""A larger read is done in parts: libraries take some ten bytes a pixel while they decode, which for a thumbnail of a
slide without pyramid would fill the memory."""
_SQUARE = 0.05
"""Sides of a pixel that differ by no more than this, relatively, are one resolution: stages are calibrated by axis."""
_COARSER_THAN_ASKED = 1.01
"""A level up to this factor coarser than asked is still taken for it."""


class PyramidReader:
    """A `SlideReader` over any `Backend`.

    The backend is opened again after pickling, after a fork and after `close`.
    """

    def __init__(
        self,
        open_backend: Callable[[], Backend],
        *,
        name: str,
        path: Path | None = None,
        mpp: float | None = None,
    ) -> None:
        """Open the slide.

        Args:
            open_backend: Opens the file; must be picklable (a class with its arguments in `functools.partial`).
            name: Short name for results and messages.
            path: The file or DICOM folder, if there is one.
            mpp: Resolution of level 0, µm/px, where the file's own statement is missing or wrong.

        Raises:
            SlideError: The file is not the backend's; with the backend's short reason.
            ResolutionError: The resolution is unknown or impossible.
        """
        self._open_backend = open_backend
        self._name = name
        self._path = path
        self._lock = threading.Lock()
        backend = _opened_by(open_backend)
        self._backend: Backend | None = backend
        self._backend_pid = os.getpid()
        try:
            self._mpp = _resolution(backend.stated_mpp, mpp, what=self._place)
        except ResolutionError:
            self.close()
            raise
        self._levels, self._stored = _usable(backend.levels)
        self._bounds = backend.bounds or Box(0, 0, *self.size)
        self._notes = (*backend.notes, *_frame_note(self._bounds, self.size))
        self._fingerprint: str | None = None

    @property
    def name(self) -> str:
        """Short name, fit for a folder of results."""
        return self._name

    @property
    def path(self) -> Path | None:
        """The file or DICOM folder; None for an array in memory."""
        return self._path

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0, px."""
        return self._levels[0].size

    @property
    def mpp(self) -> float:
        """Resolution of level 0, µm/px."""
        return self._mpp

    @property
    def bounds(self) -> Box:
        """The part of level 0 that was scanned and that viewers show, level-0 px."""
        return self._bounds

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the file is read, in sentences."""
        return self._notes

    @property
    def levels(self) -> tuple[Level, ...]:
        """The pyramid, finest first."""
        return self._levels

    @property
    def fingerprint(self) -> str:
        """What tells this slide from another; taken once, so that it is of the file that was opened."""
        if self._fingerprint is None:
            with foreign_parser(lambda why: SlideError(f"{self._place} cannot be read: {why}.")):
                self._fingerprint = self._opened().fingerprint
        return self._fingerprint

    def read(self, box: Box, *, mpp: float) -> NDArray[np.uint8]:
        """RGB pixels (box.height, box.width, 3) of a box in the working frame at `mpp`; white off the slide.

        Raises:
            SlideError: The file is damaged there.
        """
        if not (math.isfinite(mpp) and mpp > 0) or min(box.width, box.height) < 0:
            raise ValueError(f"Cannot read {box} at {mpp} µm/px.")
        out = np.full((box.height, box.width, 3), 255, np.uint8)
        index = self._best_level(mpp)
        level = self._levels[index]
        scale = mpp / (self._mpp * level.downsample)
        # One pixel more than the slide on every side: the triangle reaches that far.
        touched = Box(-1, -1, *(math.ceil(side / scale) + 2 for side in level.size))
        for part in _parts(box.clip(touched), scale):
            out[part.slices((box.x, box.y))] = self._read_part(index, part, scale)
        return out

    def thumbnail(self, max_px: int) -> tuple[NDArray[np.uint8], float]:
        """The whole slide as RGB (H, W, 3), longer side `max_px` or less, and its downsample against level 0."""
        downsample = max(1.0, max(self.size) / max_px)
        mpp = self._mpp * downsample
        return self.read(Box(0, 0, *working_size(self, mpp)), mpp=mpp), downsample

    def close(self) -> None:
        """Give up the file handles; a later read opens them again."""
        with self._lock:
            if self._backend is not None and self._backend_pid == os.getpid():
                self._backend.close()
            self._backend = None

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        width, height = self.size
        return f"<slide {self._name}: {width}×{height} px, {self._mpp:g} µm/px, {counted(len(self._levels), 'level')}>"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_lock": None, "_backend": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def _place(self) -> str:
        return str(self._path) if self._path is not None else self._name

    def _opened(self) -> Backend:
        with self._lock:
            # A forked child shares file positions with its parent, so it opens its own handles.
            if self._backend is None or self._backend_pid != os.getpid():
                try:
                    self._backend = _opened_by(self._open_backend)
                except SlideError as error:
                    raise SlideError(f"{self._place} cannot be opened again: {error}.") from error
                self._backend_pid = os.getpid()
            return self._backend

    def _best_level(self, mpp: float) -> int:
        """The coarsest level that is as fine as asked, else the finest there is."""
        fine = [i for i, level in enumerate(self._levels) if self._mpp * level.downsample <= mpp * _COARSER_THAN_ASKED]
        return max(fine, key=lambda i: self._levels[i].downsample, default=0)

    def _read_part(self, index: int, part: Box, scale: float) -> NDArray[np.uint8]:
        left, right = source_span(part.x, part.width, scale)
        top, bottom = source_span(part.y, part.height, scale)
        wanted = Box(left, top, right - left, bottom - top)
        there = wanted.clip(Box(0, 0, *self._levels[index].size))
        if there == wanted:
            source = self._read_level(index, there)
        else:
            source = np.full((wanted.height, wanted.width, 3), 255, np.uint8)
            if there.area:
                source[there.slices((left, top))] = self._read_level(index, there)
        return resample(source, (left, top), (part.x, part.y), (part.width, part.height), scale)

    def _read_level(self, index: int, box: Box) -> NDArray[np.uint8]:
        try:
            pixels = self._opened().read_level(self._stored[index], box)
        except (HistocyteError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError):
                raise SlideError(f"{self._place} is no longer there. Put it back and run the same again.") from error
            where = f"level {self._stored[index]}, x {box.x}–{box.right}, y {box.y}–{box.bottom} px"
            raise SlideError(
                f"{self._place} is damaged: {where} cannot be read ({reason_of(error)}). Copy or export the file again."
            ) from error
        assert pixels.shape == (box.height, box.width, 3), (pixels.shape, box)
        return pixels


def _opened_by(open_backend: Callable[[], Backend]) -> Backend:
    """What a format makes of a file, if that is an image; whatever else comes of it is the short reason why not."""
    with foreign_parser(lambda why: SlideError(f"damaged: {why}")):
        backend = open_backend()
        if fault := size_fault(*backend.levels[0].size):
            backend.close()
            raise SlideError(fault)
    return backend


def _resolution(stated: float | tuple[float, float] | None, given: float | None, *, what: str) -> float:
    """Resolution of a slide with square pixels: the given one, else the stated."""
    if given is not None:
        return check_mpp(given, what=what)
    if isinstance(stated, tuple):
        across, down = stated
        if not abs(across - down) <= _SQUARE * max(across, down):
            raise ResolutionError(
                f"{what} states pixels of {across:g} × {down:g} µm; square ones are needed, or areas and shapes would "
                "be wrong. Export it with square pixels; if the file is wrong, pass --mpp (mpp=... in Python)."
            )
        stated = (across + down) / 2
    if stated is not None and MPP_MIN <= stated <= MPP_MAX:
        return float(stated)
    says = "does not state its resolution" if stated is None else f"states an impossible resolution of {stated:g} µm/px"
    raise ResolutionError(
        f"{what} {says} (possible: {MPP_MIN}–{MPP_MAX:g} µm per pixel). Pass the true one with --mpp (mpp=... in "
        "Python), e.g. --mpp 0.25 for a 40x scan, --mpp 0.5 for 20x."
    )


def _frame_note(bounds: Box, size: tuple[int, int]) -> tuple[str, ...]:
    """That GeoJSON does not count from level 0's corner, where the two differ."""
    if bounds.corner == (0, 0):
        return ()
    return (
        f"Of {size[0]} × {size[1]} px the file states {bounds.width} × {bounds.height} px from x {bounds.x}, "
        f"y {bounds.y} as scanned, and QuPath shows only that: GeoJSON, read and written, counts from there; the table "
        "of cells counts from level 0's corner.",
    )


def _usable(stored: tuple[StoredLevel, ...]) -> tuple[tuple[Level, ...], tuple[int, ...]]:
    """The levels whose resolution is known, and the place of each among those stored."""
    full = stored[0].size
    sound = [(i, level) for i, level in enumerate(stored[1:], 1) if size_fault(*level.size) is None]
    known = [(i, level.size, downsample_of(full, level)) for i, level in sound]
    kept = [(0, Level(full, 1.0)), *((i, Level(size, factor)) for i, size, factor in known if factor is not None)]
    return tuple(level for _, level in kept), tuple(i for i, _ in kept)


def _parts(box: Box, scale: float) -> Iterator[Box]:
    """Cut a box of output pixels into pieces that need a bounded area of source each."""
    source_px = max(1.0, scale * scale)
    columns = max(1, min(box.width, int(_MAX_SOURCE_PX / source_px)))
    rows = max(1, int(_MAX_SOURCE_PX / source_px / columns))
    for y in range(box.y, box.bottom, rows):
        for x in range(box.x, box.right, columns):
            yield Box(x, y, columns, rows).clip(box)
