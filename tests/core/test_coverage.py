from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from histocyte.core.coverage import joined, pieces_of


def cut(kinds: NDArray[np.uint8], height: int, **how: float) -> list[tuple[int, shapely.Polygon, float]]:
    strips = (kinds[row : row + height] for row in range(0, len(kinds), height))
    values = np.full(kinds.shape, 0.5)
    pieces = [
        piece
        for number, strip in enumerate(strips)
        for piece in pieces_of(strip, values[: len(strip)], row=number * height)
    ]
    return joined(pieces, **how)


@pytest.fixture
def kinds() -> NDArray[np.uint8]:
    y, x = np.mgrid[:60, :80]
    ring = (np.hypot(x - 30, y - 30) < 25).astype(np.uint8)
    ring[np.hypot(x - 30, y - 30) < 10] = 2
    ring[5:9, 70:74] = 1
    return ring


def test_strips_of_any_height_give_the_same_regions(kinds: NDArray[np.uint8]) -> None:
    whole = cut(kinds, 60, simplify_px=1.5)
    for height in (7, 20):
        parts = cut(kinds, height, simplify_px=1.5)
        assert [kind for kind, _, _ in parts] == [kind for kind, _, _ in whole] == [1, 1, 2]
        for (_, a, value), (_, b, _) in zip(parts, whole, strict=True):
            assert shapely.symmetric_difference(a, b).area < 0.01 * b.area
            assert value == pytest.approx(0.5)


def test_areas_are_those_of_the_pixels_and_holes_are_kept(kinds: NDArray[np.uint8]) -> None:
    _, large, _ = max(cut(kinds, 7), key=lambda entry: entry[1].area)
    assert len(large.interiors) == 1
    assert large.area == (kinds == 1).sum() - 16


def test_small_regions_go_and_small_holes_are_filled(kinds: NDArray[np.uint8]) -> None:
    found = cut(kinds, 7, min_area_px=400)
    assert [(kind, len(shape.interiors)) for kind, shape, _ in found] == [(1, 0)]


def test_pixels_that_touch_at_a_corner_are_apart() -> None:
    assert len(cut(np.eye(3, dtype=np.uint8), 2)) == 3
