"""What a file of cells holds, whatever its format, and how outlines become a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError

__all__ = ["MAX_COORDINATE", "OutlinedCells", "draw_outlines", "outlines_of"]

MAX_COORDINATE = 1e7
"""No slide is larger, px; and the pixels' indices stay within what OpenCV draws."""


@dataclass(frozen=True, slots=True, eq=False)
class OutlinedCells:
    """N cells by their outlines through the centres of their border pixels, as OpenCV traces them.

    Attributes:
        outlines: (P, 2) int32 column, row of the border pixels of each cell.
        types: (N,) int64 code of each cell's class, 0 unknown.
        type_prob: (N,) float32 its probability, 1 where the file does not say.
        class_names: Class code → name, where the file names its classes.
    """

    outlines: tuple[NDArray[np.int32], ...]
    types: NDArray[np.int64]
    type_prob: NDArray[np.float32]
    class_names: dict[int, str]


def outlines_of(contours: Sequence[object], path: Path) -> tuple[NDArray[np.int32], ...]:
    """Check and convert outlines, lists of [x, y], that came from an untrusted file.

    Raises:
        InputError: One is not such a list, is empty, or is not finite or too far out; the message says which.
    """
    outlines = []
    for i, contour in enumerate(contours):
        try:
            points = np.asarray(contour, np.float64)
        except (TypeError, ValueError, OverflowError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1:] != (2,) or not len(points):
            raise InputError(f"'{path}': the outline of cell {i} is no list of [x, y]. Export the file anew.")
        if not np.abs(points).max() <= MAX_COORDINATE:  # also catches NaN
            raise InputError(f"'{path}': the outline of cell {i} leaves ±{MAX_COORDINATE:g} px. Export the file anew.")
        outlines.append(np.rint(points).astype(np.int32))
    return tuple(outlines)


def draw_outlines(
    outlines: Sequence[NDArray[np.int32]], shape: tuple[int, int], origin: tuple[int, int] = (0, 0)
) -> NDArray[np.int32]:
    """(H, W) int32 label map in which cell i of the list is i + 1; border pixels belong to their cell.

    Where outlines overlap, the pixel goes to the smaller cell, of equals to the first of the list, so that none
    vanishes but one that smaller or equal ones cover wholly.

    Args:
        outlines: See `OutlinedCells`.
        shape: H, W of the map.
        origin: x, y of the map's first pixel in the outlines' coordinates.
    """
    labels = np.zeros(shape, np.int32)
    areas = np.array([cv2.contourArea(outline) for outline in outlines])
    for i in np.lexsort((-np.arange(len(areas)), -areas)):
        cv2.fillPoly(labels, [outlines[i] - np.array(origin, np.int32)], int(i) + 1)
    return labels
