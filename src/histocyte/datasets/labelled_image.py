"""A labelled image on its way from a set as it is distributed into the uniform form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Entry", "LabelledImage"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """An image with its labels, in the codes of its own set.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        instances: (H, W) integer, 0 background and an id for each nucleus or gland; None where there are dots or
            tissue alone.
        classes: (N,) class code of each id in rising order, 0 where it is not known; None where the set has no classes.
            Of dots: one for each.
        points: (N, 2) x, y of dots, px; None where there are outlines.
        ignored: (H, W) bool, where nobody said what there is.
        tissue_map: (H, W) uint8 tissue class of each pixel, 0 where it is not known; None where there is none.
        encoded: The file's own bytes where they are RGB of 8 bits in PNG, JPEG or WebP, so that they can be kept as
            they are.
        suffix: Ending of that file: ".png".
        mpp: µm per px; None where it is the set's.
        group: Patient or slide; what must not be split. Empty where it is the image itself.
        tissue: Organ, empty where not stated.
        split: Official part: "train", "test", "fold1"; empty where there is none.
        source: Where it was read from, within the set.
    """

    pixels: NDArray[np.uint8]
    instances: NDArray[np.int32] | None = None
    classes: NDArray[np.int64] | None = None
    points: NDArray[np.float64] | None = None
    ignored: NDArray[np.bool_] | None = None
    tissue_map: NDArray[np.uint8] | None = None
    encoded: bytes = b""
    suffix: str = ""
    mpp: float | None = None
    group: str = ""
    tissue: str = ""
    split: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One image of a set, listed before it is read.

    Attributes:
        name: Unique within the set.
        read: Gives the image; may raise an `InputError` that names the file.
    """

    name: str
    read: Callable[[], LabelledImage]
