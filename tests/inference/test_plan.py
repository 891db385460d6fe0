"""How a slide is cut for a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from histocyte.core.errors import ResolutionError
from histocyte.core.geometry import Box
from histocyte.core.tiles import tile_spans
from histocyte.inference.load import Model
from histocyte.inference.plan import MAX_FIELD_BYTES, MAX_FIELD_PX, Plan, Settings, fitting_block_px
from histocyte.slides.array_reader import open_array
from histocyte.slides.region import Region


@pytest.mark.parametrize("channels", [1, 8, 39, 150])
@pytest.mark.parametrize(("tile_px", "margin_px"), [(256, 16), (512, 64), (768, 32), (1024, 64)])
def test_a_field_is_full_tiles_and_fits_the_memory(channels: int, tile_px: int, margin_px: int) -> None:
    field = fitting_block_px(channels, tile_px, margin_px, halo_px=64) + 2 * 64
    spans = tile_spans(field, tile_px=tile_px, margin_px=margin_px, multiple=16)
    assert {span.size for span in spans} == {tile_px}
    if len(spans) > 1:  # a field is never less than a tile
        assert field <= MAX_FIELD_PX
        assert field**2 * channels * 2 <= MAX_FIELD_BYTES


def test_more_maps_make_smaller_blocks() -> None:
    sides = [fitting_block_px(channels, 256, 16, 64) for channels in (4, 40, 80, 160, 1000)]
    assert sides == sorted(sides, reverse=True)
    assert 0 < sides[-1] < sides[0]


def test_what_is_left_open_is_part_of_the_signature(perfect_model: Model) -> None:
    with open_array(np.zeros((64, 64, 3), np.uint8), mpp=0.25) as slide:
        spec = perfect_model.spec
        default = Plan.of(slide, perfect_model).signature()
        assert default["settings"] == {
            "block_px": fitting_block_px(perfect_model.channels, spec.tile_px, spec.margin_px, 64),
            "halo_px": 64,
            "band_px": 12,
            "tile_px": spec.tile_px,
            "margin_px": spec.margin_px,
            "batch": 1,
        }
        other = replace(perfect_model, spec=spec.with_changes(tile_px=512))
        assert Plan.of(slide, other).signature()["settings"] != default["settings"]
        assert Plan.of(slide, perfect_model, settings=Settings(block_px=100)).layout.block_px == 100
        assert Plan.of(slide, replace(perfect_model, views=4)).signature() != default


def test_blocks_with_most_to_do_come_first_and_empty_ones_not_at_all(perfect_model: Model) -> None:
    region = Region((shapely.box(0, 0, 90, 50), shapely.box(101, 101, 199, 199)), ("a", "b"))
    with open_array(np.zeros((300, 300, 3), np.uint8), mpp=0.25) as slide:
        plan = Plan.of(slide, perfect_model, region, Settings(block_px=100))
        assert [block.index for block in plan.blocks()] == [4, 0]
        wanted = plan.wanted_on(plan.grid[0].field)
        assert wanted is not None
        assert wanted(Box(0, 0, 10, 10))
        assert not wanted(Box(0, 60, 50, 30))
        assert Plan.of(slide, perfect_model).wanted_on(plan.grid[0].field) is None


def test_a_slide_too_coarse_is_refused(perfect_model: Model) -> None:
    with open_array(np.zeros((64, 64, 3), np.uint8), mpp=2.0) as slide, pytest.raises(ResolutionError, match="few"):
        Plan.of(slide, perfect_model)
