"""Labels that are shifted, turned or of the wrong resolution are found by what their images show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.label_fit import label_fit
from histocyte.datasets.sample import Sample
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses


def tissue(*, side: int = 160, mpp: float = 0.25, count: int = 3) -> list[Sample]:
    scenes = [packed_ellipses((side, side), 30, seed=seed) for seed in range(count)]
    return [
        Sample(f"i{n}", paint_truth(labels, CONSEP), labels.instances, None, mpp, "mine", f"i{n}")
        for n, labels in enumerate(scenes)
    ]


def relabelled(samples: list[Sample], change: Callable[[NDArray[np.int32]], NDArray[np.int32]]) -> list[Sample]:
    return [replace(s, instances=np.ascontiguousarray(change(s.instances))) for s in samples]


def test_labels_in_their_place_cover_dark_nuclei() -> None:
    fit = label_fit(tissue())
    assert (fit.turn, fit.shift_px) == ("", (0, 0))
    assert fit.darker > 20


@pytest.mark.parametrize(
    ("turn", "change"),
    [
        ("with swapped axes", lambda labels: labels.T),
        ("mirrored", lambda labels: labels[:, ::-1]),
        ("upside down", lambda labels: labels[::-1]),
        ("turned by 180°", lambda labels: labels[::-1, ::-1]),
        ("turned left", lambda labels: np.rot90(labels, -1)),
        ("turned right", lambda labels: np.rot90(labels)),
    ],
)
def test_the_turn_that_would_put_labels_right_is_named(
    turn: str, change: Callable[[NDArray[np.int32]], NDArray[np.int32]]
) -> None:
    assert label_fit(relabelled(tissue(), change)).turn == turn


def test_the_move_that_would_put_labels_right_is_given_in_px() -> None:
    # 7 px to the right and 4 px up of where they belong.
    moved = relabelled(tissue(), lambda labels: np.roll(labels, (-4, 7), (0, 1)))
    assert label_fit(moved).shift_px == (-7, 4)


def test_the_diameter_is_that_of_the_circle_of_the_same_area_in_um() -> None:
    image, labels = np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64), np.int32)
    labels[4:14, 4:24], labels[30:40, 30:50] = 1, 2
    image[labels > 0] = 90
    fit = label_fit([Sample("i", image, labels, None, 0.5, "mine", "i")])
    assert fit.diameter_um == pytest.approx(2 * math.sqrt(200 / math.pi) * 0.5)
    assert fit.darker == pytest.approx(110)


def test_images_without_nuclei_say_nothing() -> None:
    empty = relabelled(tissue(), np.zeros_like)
    fit = label_fit(empty)
    assert math.isnan(fit.diameter_um)
    assert math.isnan(fit.darker)
    assert (fit.turn, fit.shift_px) == ("", (0, 0))
