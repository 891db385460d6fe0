"""CISCA's distance maps: as published where they are written, local and faithful where they are read back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histocyte.core.errors import InputError, ResolutionError
from histocyte.core.instances import Labels
from histocyte.core.labels import clean_instances
from histocyte.metrics.panoptic import PanopticCounts, panoptic_counts
from histocyte.representations.distance.contour import CONTOURS, full_semantic_map, full_semantic_map_plain
from histocyte.representations.distance.decode import _seams, distance_drop_map, separate
from histocyte.representations.distance.decode_plain import (
    distance_drop_map_plain,
    separate_as_published_plain,
    separate_plain,
)
from histocyte.representations.distance.decode_published import PUBLISHED, separate_as_published
from histocyte.representations.distance.scheme import Distance
from histocyte.representations.distance.targets import (
    BACKGROUND,
    CONTOUR,
    distance_map,
    distance_map_plain,
    semantic_map,
    semantic_map_plain,
)
from histocyte.representations.hover.decode_plain import flood_plain
from histocyte.representations.shared.seams import seam_levels
from histocyte.representations.shared.thinning import _removable, skeleton, skeleton_plain
from histocyte.representations.shared.watershed import flood
from histocyte.testing.contracts import check_representation
from histocyte.testing.crowds import crowded_ellipses, panoptic_quality, same_but_for_ids

SHARED = Path(__file__).parents[3].parent / "shared"
ORACLE = SHARED / "oracles" / "distance" / "oracle.npz"
needs_oracle = pytest.mark.skipif(not ORACLE.exists(), reason="no shared oracles")
needs_data = pytest.mark.skipif(not (SHARED / "data").exists(), reason="no shared data")

OURS = {"cell_threshold": 0.5, "seam_drop": 0.035, "smoothing_px": 0.8, "contour_weight": 0.5, "min_area_px": 10}


def _predicted(labels, seed, blur=1.2, noise=0.08):
    """Maps as a network gives them: blurred, with smooth and rough noise."""
    rng = np.random.default_rng(seed)
    target = Distance().encode(Labels(labels))

    def cloud(sigma):
        field = cv2.GaussianBlur(rng.standard_normal(labels.shape).astype(np.float32), (0, 0), sigma)
        return field / field.std()

    distance = [cv2.GaussianBlur(p, (0, 0), blur) + noise * cloud(2.5) + 0.02 * cloud(0.5) for p in target["distance"]]
    semantic = np.stack([cv2.GaussianBlur(p, (0, 0), blur) + noise * cloud(2.0) for p in target["semantic"]])
    semantic = np.clip(semantic, 1e-3, None)
    return {"semantic": (semantic / semantic.sum(0)).astype(np.float32), "distance": np.stack(distance)}


@pytest.mark.parametrize(
    "representation",
    [
        Distance(),
        Distance(2),
        Distance.at(0.5, classes=2),
        Distance(2, contour="full"),
        Distance.at(0.5, contour="full"),
    ],
    ids=range(5),
)
def test_keeps_the_contract(representation):
    check_representation(representation)


def test_published_way_keeps_it_but_for_small_cells():
    check_representation(Distance(2, compat=True), skip=("many", "thin"), min_quality=0.9)


# --- fast against plain ---


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_targets_agree(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, tuple(rng.integers(1, 8, 2)))
    labels = np.repeat(np.repeat(labels, 3, 0), 2, 1).astype(np.int32)
    assert np.allclose(distance_map(labels), distance_map_plain(labels), atol=1e-6)


def test_a_cell_along_a_diagonal_has_no_extent_across_it() -> None:
    labels = np.zeros((8, 16), np.int32)
    for i in range(3):
        labels[2 + i, 2 + i], labels[5 - i, 10 + i] = 1, 2
    maps = distance_map(labels)
    assert np.allclose(maps, distance_map_plain(labels))
    for cell, across in ((1, 3), (2, 2)):
        of_cell = maps[:, labels == cell]
        assert (of_cell[across] == 0).all()
        assert np.array_equal(np.sort(np.delete(of_cell, across, axis=0), axis=1), np.tile([-1, 0, 1], (3, 1)))
    for reach in (2**0.5, 2.0, 3.3):
        assert np.array_equal(semantic_map(labels, reach), semantic_map_plain(labels, reach))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([20, 40]))
def test_full_contours_agree(seed, magnification):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, tuple(rng.integers(1, 9, 2)))
    rows, columns = rng.integers(1, 6, 2)
    labels = np.repeat(np.repeat(labels, rows, 0), columns, 1).astype(np.int32)
    constants = CONTOURS[magnification]
    assert np.array_equal(full_semantic_map(labels, constants), full_semantic_map_plain(labels, constants))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_floods_through_corners_agree(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 20, 2))
    inside = rng.random(shape) < 0.6
    markers = np.where(rng.random(shape) < 0.1, rng.integers(1, 9, shape), 0).astype(np.int32)
    levels = rng.integers(0, 5, shape).astype(np.uint16)
    found = flood(markers, levels, inside.astype(np.int32), diagonal=True)
    assert np.array_equal(found, flood_plain(markers, levels, inside, diagonal=True))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_skeletons_agree(seed):
    rng = np.random.default_rng(seed)
    rough = rng.standard_normal(tuple(rng.integers(1, 40, 2)))
    mask = (cv2.GaussianBlur(rough, (0, 0), rng.uniform(0.5, 3)) > 0).astype(np.uint8)
    assert np.array_equal(skeleton(mask), skeleton_plain(mask))


def test_a_skeleton_is_a_thin_middle_line():
    bar = np.zeros((11, 30), np.uint8)
    bar[3:8, 2:28] = 1
    rows, columns = np.nonzero(skeleton(bar))
    assert set(rows) == {5}
    assert len(columns) > 18


def test_a_skeleton_keeps_what_has_one_neighbour_or_seven() -> None:
    """Zhang and Suen peel a pixel of two to six neighbours: fewer is a line's end, more is the inside of a shape."""
    line = np.zeros((5, 9), np.uint8)
    line[2, 1:8] = 1
    assert np.array_equal(skeleton(line), line)
    table = _removable()
    for ring in range(256):
        neighbours = ring.bit_count()
        if neighbours < 2 or neighbours > 6:
            assert table[ring] == 0, ring


def test_drops_agree():
    labels = crowded_ellipses(96, 1)
    distance = _predicted(labels, 2)["distance"]
    distance[:, 30:33, 40:44] = np.nan
    fast = distance_drop_map(distance, (labels > 0).astype(np.int32), 0.8)
    assert fast.max() > 0.1
    assert np.allclose(fast, distance_drop_map_plain(distance, labels > 0, 0.8), atol=1e-5)


def test_taken_in_strips_the_seams_are_the_same_to_the_bit():
    labels = np.tile(crowded_ellipses(96, 1), (3, 1))
    maps = {name: np.tile(values, (1, 3, 1)) for name, values in _predicted(crowded_ellipses(96, 1), 2).items()}
    maps["distance"][:, 126:131, 40:44] = np.nan
    levels, calm = _seams(maps["semantic"], maps["distance"], labels, 0.8, 0.035, 0.5)
    drops = distance_drop_map(maps["distance"], labels, 0.8)
    excess = np.maximum(maps["semantic"][0] - maps["semantic"][1], 0)
    assert np.array_equal(calm, (drops <= 0.035) & (labels > 0))
    assert 0 < calm.mean() < 1
    assert np.array_equal(levels, seam_levels(drops + np.float32(0.5) * excess, labels, 0.035))


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_agree_with_the_plain_ones(seed):
    maps = _predicted(crowded_ellipses(128, seed), seed)
    pair = (maps["semantic"], maps["distance"])
    # Heights are told apart to a thousandth; a pixel between two cells may go to either.
    assert panoptic_quality(separate_plain(*pair, **OURS), separate(*pair, **OURS)) > 0.99
    for constants in PUBLISHED.values():
        plain = separate_as_published_plain(*pair, constants, min_area_px=10)
        assert panoptic_quality(plain, separate_as_published(*pair, constants, min_area_px=10)) > 0.98


# --- contours by the full rule, worked out by hand ---


def _contours(labels, magnification):
    semantic = Distance(contour="full", magnification=magnification).encode(Labels(labels))["semantic"]
    return {(int(row), int(column)) for row, column in np.argwhere(semantic[CONTOUR])}


def _block(top, left, bottom, right):
    return {(row, column) for row in range(top, bottom) for column in range(left, right)}


@pytest.mark.parametrize(("magnification", "half_px"), [(20, 1), (40, 2)])
def test_cells_that_touch_along_a_side_have_a_contour_as_wide_as_the_simplified_one(magnification, half_px):
    labels = np.zeros((40, 60), np.int32)
    labels[5:35, 5:30], labels[5:35, 30:55] = 1, 2
    assert _contours(labels, magnification) == _block(5, 30 - half_px, 35, 30 + half_px)


@pytest.mark.parametrize(("magnification", "gap_px", "reach_px"), [(20, 1, 2), (40, 3, 5), (40, 4, 5)])
def test_cells_that_stand_near_each_other_have_thin_contours_where_they_face(magnification, gap_px, reach_px):
    labels = np.zeros((40, 70), np.int32)
    labels[5:35, 5:30], labels[5:35, 30 + gap_px : 60] = 1, 2
    width = reach_px - gap_px
    left, right = _block(5, 30 - width, 35, 30), _block(5, 30 + gap_px, 35, 30 + gap_px + width)
    assert _contours(labels, magnification) == left | right
    assert _contours(np.where(labels == 2, 0, labels), magnification) == set()


def test_a_contour_at_one_corner_grows():
    labels = np.zeros((20, 20), np.int32)
    labels[2:10, 2:10], labels[10:18, 10:18] = 1, 2
    assert _contours(labels, 20) == _block(8, 8, 10, 10) | _block(10, 10, 12, 12)
    assert _contours(labels[:10, :], 20) == set()


def test_small_holes_between_touching_cells_are_contour_and_larger_ones_background():
    labels = np.zeros((30, 30), np.int32)
    labels[:, :15], labels[:, 15:] = 1, 2
    labels[5, 14], labels[15:19, 13:17] = 0, 0
    semantic = Distance(contour="full", magnification=20).encode(Labels(labels))["semantic"]
    assert semantic[CONTOUR, 5, 14] == 1
    assert (semantic[BACKGROUND, 15:19, 13:17] == 1).all()
    assert semantic[BACKGROUND].sum() == 16


def test_what_is_published_for_two_magnifications():
    fine, coarse = CONTOURS[40], CONTOURS[20]
    pixels = [(int(c.gap.sum()), int(c.touch.sum()), int(c.near.sum()), int(c.thin.sum())) for c in (fine, coarse)]
    assert pixels == [(9 * 9 - 12, 13, 11 * 11 - 12, 25), (25, 9, 25, 9)]
    assert [[int(shape.sum()) for shape in c.growth] for c in (fine, coarse)] == [[13, 9], [9, 5]]
    assert [(c.small_px, c.hole_px) for c in (fine, coarse)] == [((6, 11), 8), ((2, 4), 3)]
    with pytest.raises(InputError, match="'simplified' or the 'full'"):
        Distance(contour="whole")  # type: ignore[arg-type]


# --- local, whatever else is in the field ---


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2))
def test_a_cell_does_not_depend_on_where_the_field_is_cut(top, left, seed):
    maps = _predicted(crowded_ellipses(320, seed), seed)
    whole = Distance().decode(maps).labels
    window = (slice(top, top + 250), slice(left, left + 255))
    part = Distance().decode({name: values[:, *window] for name, values in maps.items()}).labels
    inner = (slice(64, 250 - 64), slice(64, 255 - 64))
    assert whole[window][inner].any()
    assert same_but_for_ids(whole[window][inner], part[inner])


def test_a_cell_does_not_depend_on_what_else_the_field_holds():
    maps = _predicted(crowded_ellipses(256, 5), 5)
    alone = Distance().decode(maps)
    loud = {name: np.pad(values, ((0, 0), (0, 0), (0, 64))) for name, values in maps.items()}
    loud["distance"][:, 100:130, 280:300] = 1e4
    loud["semantic"][1, 90:140, 270:310] = 1
    both = Distance().decode(loud)
    assert np.array_equal(both.labels[:, :256] > 0, alone.labels > 0)
    assert same_but_for_ids(both.labels[:, :256], alone.labels)
    assert len(both) == len(alone) + 1


def test_cells_that_the_border_cuts_are_kept():
    labels = np.zeros((64, 64), np.int32)
    labels[20:40, :4], labels[:3, 30:50], labels[60:, 58:] = 1, 2, 3
    found = Distance().decode(Distance().encode(Labels(labels)))
    assert np.array_equal(found.labels > 0, labels > 0)
    assert len(found) == 3


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("compat", [False, True])
def test_cells_are_solid_and_in_one_piece(seed, compat):
    found = Distance(compat=compat).decode(_predicted(crowded_ellipses(128, seed), seed, noise=0.3))
    assert len(found) > 3
    assert np.array_equal(found.labels, clean_instances(found.labels))


def test_either_map_alone_still_parts_cells():
    labels = np.zeros((40, 60), np.int32)
    labels[8:32, 5:30], labels[8:32, 30:55] = 1, 2
    maps = Distance().encode(Labels(labels))
    blind = {"semantic": maps["semantic"], "distance": np.zeros_like(maps["distance"])}
    whole = np.stack([np.zeros(labels.shape), labels > 0, labels == 0]).astype(np.float32)
    for spoilt in (blind, {"semantic": whole, "distance": maps["distance"]}):
        assert panoptic_quality(labels, Distance().decode(spoilt).labels) > 0.95


def test_a_lone_cell_is_kept_however_wrong_its_distances():
    labels = np.zeros((30, 40), np.int32)
    labels[10:16, 12:22] = 1
    maps = Distance().encode(Labels(labels))
    maps["distance"] *= -1
    assert np.array_equal(Distance().decode(maps).labels, labels)


# --- poor maps ---


@pytest.mark.parametrize("compat", [False, True])
def test_empty_maps_hold_no_cells(compat):
    maps = {"semantic": np.zeros((3, 40, 50)), "distance": np.zeros((4, 40, 50)), "types": np.zeros((4, 40, 50))}
    found = Distance(3, compat=compat).decode(maps)
    assert len(found) == 0
    assert found.labels.shape == (40, 50)
    assert found.class_probabilities.shape == (0, 3)


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_do_no_harm_elsewhere(compat, value):
    maps = _predicted(crowded_ellipses(160, 7), 7)
    sound = Distance(compat=compat).decode(maps)
    maps["distance"][:, :20, :20] = value
    maps["semantic"][:, :10, :10] = np.nan
    found = Distance(compat=compat).decode(maps)
    assert np.isfinite(found.scores).all()
    far = np.s_[84:, 84:]
    if compat:
        assert panoptic_quality(sound.labels[far], found.labels[far]) > 0.5
    else:
        assert same_but_for_ids(sound.labels[far], found.labels[far])


@pytest.mark.parametrize("compat", [False, True])
def test_maps_of_one_value_everywhere(compat):
    semantic = np.zeros((3, 30, 30), np.float16)
    semantic[1] = 1
    maps = {"semantic": semantic, "distance": np.zeros((4, 30, 30), np.float16)}
    assert len(Distance(compat=compat).decode(maps)) <= 1


def test_half_precision_finds_the_same_cells():
    maps = _predicted(crowded_ellipses(200, 8), 8)
    half = Distance().decode({name: values.astype(np.float16) for name, values in maps.items()})
    assert panoptic_quality(Distance().decode(maps).labels, half.labels) > 0.98


def test_constants_follow_the_resolution():
    half = Distance.at(0.5, classes=3)
    assert (half.classes, half.min_area_px, half.smoothing_px, half.magnification) == (3, 3, 0.4, 20)
    assert half.contour_px == pytest.approx(2**0.5)
    assert Distance.at(0.25) == Distance()
    assert Distance.at(0.274, compat=True).magnification == 40
    with pytest.raises(ResolutionError):
        Distance.at(0.0)
    with pytest.raises(InputError, match="20 and 40"):
        Distance(magnification=30)  # type: ignore[arg-type]


# --- as published ---


@needs_oracle
@pytest.mark.parametrize("crop", range(4))
def test_targets_are_those_of_the_published_code(crop):
    """Maps by CISCA's code (cytoark repository 8b9f75e) of real CoNSeP crops."""
    with np.load(ORACLE) as stored:
        truth, distance, semantic = (stored[f"{crop}/{k}"] for k in ("truth", "distance_fullrange", "semantic"))
    maps = Distance().encode(Labels(truth.astype(np.int32)))
    assert np.abs(maps["distance"] - distance.astype(np.float32)).max() < 1e-3  # stored in half precision
    assert np.array_equal(maps["semantic"].argmax(0), semantic)


@needs_oracle
@pytest.mark.parametrize("crop", range(4))
def test_published_way_agrees_with_cisca(crop):
    """Labels by CISCA's post-processing (cytoark repository 8b9f75e) on the same maps."""
    with np.load(ORACLE) as stored:
        semantic = stored[f"{crop}/semantic"]
        maps = {
            "semantic": np.equal(semantic, np.arange(3)[:, None, None]).astype(np.float32),
            "distance": stored[f"{crop}/distance_x100"].astype(np.float32) / 100,
        }
        expected, truth = (stored[f"{crop}/{k}"].astype(np.int32) for k in ("label_40x", "truth"))
    published, ours = Distance(compat=True).decode(maps), Distance().decode(maps)
    assert panoptic_quality(expected, published.labels) >= 0.99
    assert len(published) == len(np.unique(expected)) - 1
    assert panoptic_quality(truth, ours.labels) > panoptic_quality(truth, published.labels)


# --- real cells ---


@needs_data
@pytest.mark.parametrize("folder", ["consep", "monuseg", "tnbc", "nuinsseg", "pannuke_breast25"])
def test_real_cells_come_back(folder):
    total = PanopticCounts(0, 0, 0, 0.0)
    for path in sorted((SHARED / "data" / folder).glob("*.npz"))[::9][:3]:
        with np.load(path) as stored:
            labels = stored["inst"][:512, :512]
        found = Distance().decode(Distance().encode(Labels(labels)))
        total = total + panoptic_counts(labels, found.labels)
    assert total.tp > 0
    assert float(total.quality().pq) >= 0.98
