"""Boxes, scales and the one place where (row, column) meets (x, y).

Arrays are indexed (row, column). Geometry is (x, y). A slide's own frame is level 0: its finest
pixels, origin at the top-left corner of the top-left pixel, so pixel (row r, column c) covers
x in [c, c+1], y in [r, r+1]. The *working frame* is the same plane measured in pixels of the
resolution at which a network works (`mpp`): work = level0 * slide_mpp / mpp.

Some scanners state the part of level 0 that they scanned, and QuPath shows that part as if it were the image. The
*viewer's frame* is level 0 counted from that part's corner, its `origin`: viewer = level0 - origin. GeoJSON is in the
viewer's frame, all else in level 0. Without such a statement the origin is (0, 0) and the two are one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import ResolutionError

__all__ = [
    "MPP_MAX",
    "MPP_MIN",
    "Box",
    "area_text",
    "check_mpp",
    "from_viewer",
    "rows_cols_to_xy",
    "stated_origin",
    "to_viewer",
]

MPP_MIN = 0.05
"""Below this a stated resolution is nonsense: no slide scanner resolves 0.05 µm."""
MPP_MAX = 10.0
"""Above this a cell is smaller than a pixel."""


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle, [x, x + width) × [y, y + height); the frame is told by the user of it."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First x beyond the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First y beyond the box."""
        return self.y + self.height

    @property
    def corner(self) -> tuple[int, int]:
        """Its first x and y."""
        return self.x, self.y

    @property
    def area(self) -> int:
        """Width × height."""
        return self.width * self.height

    def expand(self, margin: int) -> Box:
        """The box with `margin` more on every side."""
        return Box(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)

    def clip(self, other: Box) -> Box:
        """The part of this box inside `other`; of size 0 where they do not meet."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(x, y, max(0, right - x), max(0, bottom - y))

    def shift(self, dx: int, dy: int) -> Box:
        """The box moved by (dx, dy)."""
        return Box(self.x + dx, self.y + dy, self.width, self.height)

    def slices(self, origin: tuple[int, int] = (0, 0)) -> tuple[slice, slice]:
        """(rows, columns) of this box in an array whose pixel [0, 0] stands at `origin` (x, y)."""
        x, y = self.x - origin[0], self.y - origin[1]
        return slice(y, y + self.height), slice(x, x + self.width)


def area_text(area_mm2: float) -> str:
    """An area for people, with three digits that count.

    >>> [area_text(a) for a in (0, 0.00123, 0.5, 12.345, 1234.5)]
    ['0 mm²', '0.00123 mm²', '0.500 mm²', '12.3 mm²', '1,234 mm²']
    """
    digits = 0 if area_mm2 <= 0 else max(0, 2 - math.floor(math.log10(area_mm2)))
    return f"{area_mm2:,.{digits}f} mm²"


def check_mpp(mpp: float, *, what: str = "the image", option: str = "--mpp") -> float:
    """Return `mpp` if it is a possible resolution.

    Args:
        mpp: µm per px.
        what: Has it, for messages.
        option: Option of the command line that states it, for messages.

    Raises:
        ResolutionError: Not finite or outside 0.05–10 µm/px.
    """
    if not math.isfinite(mpp) or not MPP_MIN <= mpp <= MPP_MAX:
        raise ResolutionError(
            f"A resolution of {mpp:g} µm/px for {what} is outside {MPP_MIN}–{MPP_MAX:g} µm/px. "
            f"Pass the true one with {option} (mpp=... in Python), e.g. {option} 0.25 for a 40x scan."
        )
    return float(mpp)


def to_viewer(xy: NDArray[np.float64], origin: tuple[int, int]) -> NDArray[np.float64]:
    """(N, 2) points in level-0 px → the same in the viewer's frame, whose corner is at `origin` (x, y) of level 0."""
    return xy - np.asarray(origin, np.float64) if any(origin) else xy


def from_viewer(xy: NDArray[np.float64], origin: tuple[int, int]) -> NDArray[np.float64]:
    """(N, 2) points in the viewer's frame → the same in level-0 px; undoes `to_viewer`."""
    return to_viewer(xy, (-origin[0], -origin[1]))


def stated_origin(about: Mapping[str, Any]) -> tuple[int, int]:
    """The `origin` that a result says of itself; (0, 0) where it says none, as results before version 0.2 do.

    Raises:
        ValueError: It is not a pair of whole numbers.
    """
    match about.get("origin", [0, 0]):
        case [int(x), int(y)]:
            return x, y
    raise ValueError(f"'origin' is {about['origin']!r}, not [x, y]")


def rows_cols_to_xy(rows_cols: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N, 2) array indices (row, column) of pixels → (N, 2) points (x, y) at the pixels' centres."""
    return rows_cols[:, ::-1] + 0.5
