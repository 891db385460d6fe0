"""Whether the label maps of a set lie on their images: not shifted, not turned, and of nuclei of a usual size.

Nuclei are darker than what lies around them, so that labels in their place cover the dark parts of an image, and labels
of the wrong file, with swapped axes or from a shifted grid do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.datasets.sample import Sample

__all__ = ["LabelFit", "label_fit"]

_IMAGES = 16
"""Most images of a set that are looked at, evenly spread, so that a large set does not take minutes."""
_SIDE_PX = 512
"""Side of the part that is looked at, in the middle of an image."""
_AREAS = 5_000
"""Areas of the nuclei of an image."""
_TURNS = (
    *("", "mirrored", "upside down", "turned by 180°"),
    *("with swapped axes", "turned left", "turned right", "mirrored with swapped axes"),
)
_MUCH = 1.5
"""Labels fit much better where their nuclei are darker than the rest by so much more."""
_BETTER = 1.1
"""A shift counts where labels then cover what is darker by so much more."""
_SEARCH_PX = 32
"""Shifts are looked for within this distance."""


@dataclass(frozen=True, slots=True)
class LabelFit:
    """How the label maps of a set fit its images.

    Attributes:
        diameter_um: Median diameter of a nucleus, of the circle of the same area; NaN where there is none.
        darker: By how many grey levels nuclei are darker than the rest, the median of the images; NaN where unknown.
        shift_px: (x, y) by which labels would have to be moved to cover the dark parts best, the median of the images.
        turn: How labels would have to be turned to fit much better; empty where they lie best as they are.
    """

    diameter_um: float
    darker: float
    shift_px: tuple[int, int]
    turn: str


def label_fit(samples: Sequence[Sample]) -> LabelFit:
    """Look at some images of one set.

    Args:
        samples: All of the set.
    """
    some = [samples[i] for i in np.unique(np.linspace(0, len(samples) - 1, min(_IMAGES, len(samples))).astype(int))]
    diameters = np.concatenate([np.zeros(0), *(_diameters_um(s) for s in some)])
    diameter = float(np.median(diameters)) if len(diameters) else math.nan
    seen = [(grey, labelled) for grey, labelled in map(_middle, some) if 0 < labelled.mean() < 0.9]
    if not seen:
        return LabelFit(diameter, math.nan, (0, 0), "")
    darker = np.median([_by_turn(*one) for one in seen], axis=0)
    best = int(darker.argmax())
    turned = best > 0 and darker[best] > _MUCH * max(darker[0], 1.0)
    x, y = np.median([_shift(*one) for one in seen], axis=0).round()
    return LabelFit(diameter, float(darker[0]), (int(x), int(y)), _TURNS[best] if turned else "")


def _diameters_um(sample: Sample) -> NDArray[np.float64]:
    areas = np.bincount(sample.instances.ravel())[1:]
    return np.asarray(2 * np.sqrt(areas[areas > 0][:_AREAS] / np.pi) * sample.mpp)


def _middle(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Grey levels, and where nuclei are labelled, of a square in the middle of an image, so that it may be turned."""
    height, width = sample.instances.shape
    side = min(height, width, _SIDE_PX)
    top, left = (height - side) // 2, (width - side) // 2
    part = slice(top, top + side), slice(left, left + side)
    return np.asarray(sample.image[part].mean(axis=2), np.float32), sample.instances[part] > 0


def _by_turn(grey: NDArray[np.float32], labelled: NDArray[np.bool_]) -> list[float]:
    """How much darker what is labelled is than the rest, for each turn of the labels."""
    turned = [_turned(labelled, turn) for turn in range(len(_TURNS))]
    return [float(grey[~each].mean() - grey[each].mean()) for each in turned]


def _turned(labelled: NDArray[np.bool_], turn: int) -> NDArray[np.bool_]:
    across, down, swapped = turn in (1, 3, 6, 7), turn in (2, 3, 5, 7), turn >= 4
    labelled = labelled.T if swapped else labelled
    return labelled[:: -1 if down else 1, :: -1 if across else 1]


def _shift(grey: NDArray[np.float32], labelled: NDArray[np.bool_]) -> tuple[int, int]:
    """(x, y) by which labels would have to be moved to cover the dark parts best, within `_SEARCH_PX`."""
    dark, mask = grey.mean() - grey, labelled - labelled.mean()
    fitting = np.fft.irfft2(np.fft.rfft2(dark) * np.conj(np.fft.rfft2(mask)), s=grey.shape)
    reach = min(_SEARCH_PX, min(grey.shape) // 4)
    near = np.roll(fitting, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    if near.max() <= _BETTER * near[reach, reach] + 1e-6:
        return 0, 0
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    return int(x) - reach, int(y) - reach
