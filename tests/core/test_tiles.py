"""Tiles: every pixel from the tile in which it lies most central, whatever the sizes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histocyte.core.errors import InputError
from histocyte.core.tiles import LARGEST_TILE_PX, are_possible, check_tiles, tile_spans


@given(length=st.integers(1, 700), tile=st.integers(3, 20), margin=st.integers(0, 20))
def test_cores_partition_the_axis_and_lie_inside_their_tiles(length: int, tile: int, margin: int) -> None:
    tile_px, margin_px = 16 * tile, 8 * margin
    if tile_px - 2 * margin_px <= 0:
        with pytest.raises(ValueError, match="impossible"):
            tile_spans(length, tile_px=tile_px, margin_px=margin_px, multiple=16)
        return
    spans = tile_spans(length, tile_px=tile_px, margin_px=margin_px, multiple=16)
    covered = np.zeros(length, int)
    for span in spans:
        covered[span.core_start : span.core_stop] += 1
        assert span.start <= span.core_start < span.core_stop <= span.start + span.size
        assert span.size % 16 == 0
        assert span.start == 0 or span.core_start - span.start >= margin_px
    assert (covered == 1).all()
    assert spans[-1].start + spans[-1].size < length + 16


@given(
    tile_px=st.integers(-50, 20_000), margin_px=st.integers(-50, 10_000), multiple=st.sampled_from([1, 7, 14, 16, 64])
)
def test_tiles_that_cannot_be_are_refused_with_some_that_can(tile_px: int, margin_px: int, multiple: int) -> None:
    asked = {"tile_px": tile_px, "margin_px": margin_px}
    possible = tile_px <= LARGEST_TILE_PX and are_possible(**asked, multiple=multiple)
    if possible:
        check_tiles("'mine'", **asked, multiple=multiple)
        return
    with pytest.raises(InputError) as caught:
        check_tiles("'mine'", **asked, multiple=multiple)
    option, wrong = re.findall(r"^--(tile|margin) (-?\d+):", str(caught.value))[0]
    assert asked[f"{option}_px"] == int(wrong)
    for other in re.findall(r"\d+", str(caught.value).rpartition("e.g. ")[2]):
        mended = {"margin_px": 0} if option == "tile" else {}
        check_tiles("'mine'", **{**asked, **mended, f"{option}_px": int(other)}, multiple=multiple)
