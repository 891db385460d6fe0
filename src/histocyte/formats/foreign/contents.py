"""What a file of cells holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.datasets.label_arrays import MOST_LABEL_PIXELS
from histocyte.formats.geojson.outlines import MAX_COORDINATE

__all__ = ["MAX_COORDINATE", "CellFile", "Drawn", "Shapes", "empty_map", "lost_cells"]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Cells as a label map of a window.

    Attributes:
        labels: (H, W) int32, cell i of the file is i + 1.
        hidden: (L,) cells that lie in the window and have no pixel: exact duplicates, those that others cover wholly,
            those between pixel centres.
        outside: (M,) cells that lie wholly outside.
    """

    labels: NDArray[np.int32]
    hidden: NDArray[np.int64]
    outside: NDArray[np.int64]


class Shapes(Protocol):
    """Where N cells lie."""

    @property
    def size(self) -> tuple[int, int] | None:
        """H, W of their image, if the file says so."""

    def __len__(self) -> int:
        """Number of cells."""

    def draw(self, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> Drawn:
        """The cells in a window of H, W pixels whose first pixel is x, y of their image.

        Where two overlap, the pixel goes to the smaller cell, of equals to the first of the file.
        """


@dataclass(frozen=True, slots=True, eq=False)
class CellFile:
    """N cells on one image.

    Attributes:
        path: The file.
        shapes: Where they lie.
        types: (N,) int64 code of each cell's class, 0 unknown.
        type_prob: (N,) float32 its probability, 1 where the file does not say.
        class_names: Class code → name, where the file names its classes.
        probabilities: (N, K) float32 of classes 1..K, where the file has them all.
        scores: (N,) float32 how surely each is a cell, where the file says.
        mpp: µm per px of the coordinates, where the file says.
        notes: What its user should know, in sentences.
    """

    path: Path
    shapes: Shapes
    types: NDArray[np.int64]
    type_prob: NDArray[np.float32]
    class_names: dict[int, str]
    probabilities: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    mpp: float | None = None
    notes: tuple[str, ...] = ()


def empty_map(shape: tuple[int, int]) -> NDArray[np.int32]:
    """(H, W) zeros to draw cells into.

    Raises:
        InputError: More pixels than can be scored.
    """
    if shape[0] * shape[1] > MOST_LABEL_PIXELS:
        raise InputError(
            f"{shape[1]:,} × {shape[0]:,} px are too many to score at once. "
            "Pass the truth of a crop, and where it lies as --origin X,Y."
        )
    return np.zeros(shape, np.int32)


def lost_cells(
    labels: NDArray[np.int32], bounds: NDArray[np.float64], origin: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells that a label map does not show.

    Args:
        labels: (H, W), cell i is i + 1.
        bounds: (N, 4) least x, y and greatest x, y that the cells' pixels reach.
        origin: x, y of the first pixel.

    Returns:
        Cells that reach into the window, and those that do not.
    """
    missing = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(bounds) + 1)[1:] == 0)
    low, high = bounds[missing, :2] - origin, bounds[missing, 2:] - origin
    outside = (high <= 0).any(axis=1) | (low >= labels.shape[::-1]).any(axis=1)
    return missing[~outside], missing[outside]
