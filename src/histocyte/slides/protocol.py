"""What a slide is to the rest of the package, and what a file format must offer to become one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import SlideError
from histocyte.core.geometry import Box

__all__ = ["Backend", "Level", "RefusedError", "SlideReader", "StoredLevel", "working_size"]


class RefusedError(SlideError):
    """The file is the backend's own and holds nothing that may be read; no other backend is to try."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of the pyramid.

    Attributes:
        size: Width and height, px of this level.
        downsample: Level-0 pixels per pixel of this level; 1 for level 0.
    """

    size: tuple[int, int]
    downsample: float


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """One level as a file holds it.

    Attributes:
        size: Width and height, px.
        tile: Width and height of its tiles, px, to whole ones of which it may be padded; None if it has none.
        downsample: Level-0 pixels per pixel, where the file states it; else it is told from the sizes.
    """

    size: tuple[int, int]
    tile: tuple[int, int] | None = None
    downsample: float | None = None


class SlideReader(Protocol):
    """An open slide. Cheap to pickle (a worker reopens the file); `read` may be called from many threads."""

    @property
    def name(self) -> str:
        """Short name, fit for a folder of results."""

    @property
    def path(self) -> Path | None:
        """The file or DICOM folder; None for an array in memory."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0, px."""

    @property
    def mpp(self) -> float:
        """Resolution of level 0, µm/px; always known, within 0.05–10."""

    @property
    def bounds(self) -> Box:
        """The part of level 0 that was scanned and that viewers show, level-0 px; all where the file states none."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the file is read, in sentences."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The pyramid, finest first."""

    @property
    def fingerprint(self) -> str:
        """What tells this slide from another, and from itself after a change (see `slides.fingerprint`)."""

    def read(self, box: Box, *, mpp: float) -> NDArray[np.uint8]:
        """RGB pixels (box.height, box.width, 3).

        Args:
            box: What to read, px of the working frame at `mpp` (see `core.geometry`). A pixel's value does not
                depend on the box it was read with. What lies off the slide is white.
            mpp: Resolution of the result, µm/px.

        Raises:
            SlideError: The file is damaged there.
        """

    def thumbnail(self, max_px: int) -> tuple[NDArray[np.uint8], float]:
        """The whole slide as RGB (H, W, 3), its longer side `max_px` or less.

        Returns:
            The image, and how many level-0 pixels one of its pixels is wide.
        """

    def close(self) -> None:
        """Give up the file handles; a later read opens them again."""

    def __enter__(self) -> Self:
        """The reader itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""


class Backend(Protocol):
    """One file format: raw levels and the resolution that the file states. `PyramidReader` does the rest.

    A constructor takes the path and raises SlideError with a short reason where the file is not its own, RefusedError
    where it is and holds nothing that may be read.
    """

    @property
    def levels(self) -> tuple[StoredLevel, ...]:
        """The levels, finest first; of those behind the first that are no reductions of it no use is made."""

    @property
    def stated_mpp(self) -> float | tuple[float, float] | None:
        """What the file says of level 0, µm/px, across and down if it says both, plausible or not; None for nothing."""

    @property
    def bounds(self) -> Box | None:
        """The part of level 0 that the file states as scanned, level-0 px; None where it says nothing."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the file is read, in sentences."""

    @property
    def fingerprint(self) -> str:
        """What tells this slide from another, see `slides.fingerprint`."""

    def read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        """RGB pixels (H, W, 3) of a level; `box` is in px of that level and lies within it.

        Must be safe to call from many threads. Any exception is reported as damage at this place.
        """

    def close(self) -> None:
        """Give up the file handles."""


def working_size(reader: SlideReader, mpp: float) -> tuple[int, int]:
    """Width and height of the whole slide in the working frame at `mpp`, px, each at least 1."""
    scale = reader.mpp / mpp
    width, height = reader.size
    return max(1, round(width * scale)), max(1, round(height * scale))
