from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histocyte.slides.resample import WEIGHT_BITS, _taps, resample, resample_plain, source_span

SCALES = [0.5, 0.93, 1.0, 1.004, 2.0, 2.0005, 3.7, 16.0]


def _patch(start: tuple[int, int], size: tuple[int, int], scale: float) -> tuple[np.ndarray, tuple[int, int]]:
    """The source under a box, drawn from a pattern known everywhere."""
    (x0, x1), (y0, y1) = source_span(start[0], size[0], scale), source_span(start[1], size[1], scale)
    x, y, c = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1), np.arange(3), indexing="xy")
    return ((x * 7919 + y * 104729 + c * 31 + x * y * 17) % 256).astype(np.uint8), (x0, y0)


@pytest.mark.parametrize("scale", SCALES)
def test_the_fast_and_the_plain_one_agree(scale: float) -> None:
    source, origin = _patch((-3, 11), (37, 23), scale)
    fast = resample(source, origin, (-3, 11), (37, 23), scale)
    assert fast.shape == (23, 37, 3)
    np.testing.assert_array_equal(fast, resample_plain(source, origin, (-3, 11), (37, 23), scale))


@settings(max_examples=40, deadline=None)
@given(
    scale=st.sampled_from(SCALES) | st.floats(0.3, 8),
    x=st.integers(-20, 10_000),
    y=st.integers(-20, 10_000),
    inset=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_a_pixel_does_not_depend_on_the_box(scale: float, x: int, y: int, inset: tuple[int, int]) -> None:
    whole = resample(*_patch((x, y), (20, 20), scale), (x, y), (20, 20), scale)
    start, size = (x + inset[0], y + inset[1]), (20 - inset[0], 20 - inset[1])
    part = resample(*_patch(start, size, scale), start, size, scale)
    np.testing.assert_array_equal(part, whole[inset[1] :, inset[0] :])


@pytest.mark.parametrize("scale", [*SCALES, 300.7])
@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_flat_colour_stays_what_it_is(scale: float, value: int) -> None:
    (x0, x1), (y0, y1) = source_span(5, 9, scale), source_span(0, 7, scale)
    out = resample(np.full((y1 - y0, x1 - x0, 3), value, np.uint8), (x0, y0), (5, 0), (9, 7), scale)
    assert (out == value).all()


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 2.5, 4.0])
def test_a_place_stays_where_it_is(scale: float) -> None:
    """A ramp rises by `scale` a pixel, and pixel i's centre lies at (i + ½)·scale of the source."""
    x0, x1 = source_span(10, 20, scale)
    ramp = np.repeat(np.arange(x0, x1, dtype=np.float64)[None, :, None], 4, axis=0).repeat(3, axis=2)
    source = np.rint(ramp + 20).astype(np.uint8)
    y0, y1 = source_span(0, 1, scale)
    out = resample(np.resize(source[:1], (y1 - y0, x1 - x0, 3)), (x0, y0), (10, 0), (20, 1), scale)
    expected = (np.arange(10, 30) + 0.5) * scale - 0.5 + 20
    np.testing.assert_allclose(out[0, :, 0], expected, atol=0.51)


def test_weights_sum_to_one_whatever_the_scale() -> None:
    for scale in np.geomspace(0.1, 400, 40):
        assert (_taps(np.arange(50), float(scale))[1].sum(axis=1) == 1 << WEIGHT_BITS).all()


def test_the_source_under_a_box_is_no_larger_than_needed() -> None:
    assert source_span(4, 3, 1.0) == (4, 7)
    assert source_span(4, 3, 2.0) == (7, 15)
    assert source_span(-2, 1, 2.0) == (-5, -1)
