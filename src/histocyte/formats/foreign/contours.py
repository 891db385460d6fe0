"""Outlines through the centres of the border pixels, as OpenCV traces them and HoVer-Net and CellViT write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.formats.foreign.contents import MAX_COORDINATE, Drawn, empty_map, lost_cells

__all__ = ["Contours", "contours_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Contours:
    """Cells by the pixels of their border.

    Attributes:
        outlines: (P, 2) int32 column, row of the border pixels of each cell; they belong to the cell.
    """

    outlines: tuple[NDArray[np.int32], ...]

    @property
    def size(self) -> None:
        """Not known."""
        return None

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.outlines)

    def draw(self, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> Drawn:
        """See `Shapes.draw`.

        Raises:
            InputError: The window is too large.
        """
        labels = empty_map(shape)
        boxes = np.array([(*o.min(axis=0), *(o.max(axis=0) + 1)) for o in self.outlines], np.float64).reshape(-1, 4)
        near = _meets(boxes, shape, origin)
        areas = np.array([cv2.contourArea(outline) for outline in self.outlines])
        for i in np.lexsort((-np.arange(len(areas)), -areas)):
            if near[i]:
                cv2.fillPoly(labels, [self.outlines[i] - np.array(origin, np.int32)], int(i) + 1)
        hidden, outside = lost_cells(labels, boxes, origin)
        # A box may reach into a corner of the window where the cell itself does not.
        here = np.array([self._reaches(int(i), shape, origin) for i in hidden], np.bool_)
        return Drawn(labels, hidden[here], np.sort(np.concatenate([outside, hidden[~here]])))

    def _reaches(self, i: int, shape: tuple[int, int], origin: tuple[int, int]) -> bool:
        outline = self.outlines[i] - np.array(origin, np.int32)
        if ((outline >= 0) & (outline < shape[::-1])).all(axis=1).any():
            return True
        alone = np.zeros(shape, np.uint8)
        cv2.fillPoly(alone, [outline], 1)
        return bool(alone.any())


def _meets(boxes: NDArray[np.float64], shape: tuple[int, int], origin: tuple[int, int]) -> NDArray[np.bool_]:
    low, high = boxes[:, :2] - origin, boxes[:, 2:] - origin
    return np.asarray((high > 0).all(axis=1) & (low < shape[::-1]).all(axis=1), np.bool_)


def contours_of(contours: Sequence[object], path: Path) -> Contours:
    """Check and convert outlines, lists of [x, y], that came from an untrusted file.

    Raises:
        InputError: One is not such a list, is empty, or is not finite or too far out; the message says which.
    """
    outlines = []
    for i, contour in enumerate(contours, 1):
        try:
            points = np.asarray(contour, np.float64)
        except (TypeError, ValueError, OverflowError, KeyError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1:] != (2,) or not len(points):
            raise InputError(
                f"'{path}': the outline of cell {i:,} of {len(contours):,} is not a list of [x, y]. Export the "
                f"file again."
            )
        if not np.abs(points).max() <= MAX_COORDINATE:  # also catches NaN
            raise InputError(
                f"'{path}': the outline of cell {i:,} of {len(contours):,} leaves ±{MAX_COORDINATE:g} px. Export the "
                "file again."
            )
        outlines.append(np.rint(points).astype(np.int32))
    return Contours(tuple(outlines))
