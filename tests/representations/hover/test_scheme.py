"""Hover maps read back as nuclei: what was written, wherever the field is cut, however poor the maps."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histocyte.core.errors import ResolutionError
from histocyte.core.instances import Labels
from histocyte.core.labels import clean_instances
from histocyte.metrics.panoptic import PanopticCounts, panoptic_counts
from histocyte.representations.hover.decode import _seam_levels, separate, separate_as_published
from histocyte.representations.hover.decode_plain import (
    flood_plain,
    seam_drop_map_plain,
    separate_as_published_plain,
    separate_plain,
)
from histocyte.representations.hover.scheme import Hover
from histocyte.representations.shared.seams import seam_drop_map, seam_levels
from histocyte.representations.shared.watershed import flood
from histocyte.testing.contracts import check_representation
from histocyte.testing.crowds import crowded_ellipses, panoptic_quality, same_but_for_ids

SHARED = Path(__file__).parents[3].parent / "shared"
ORACLE = SHARED / "oracles" / "hover" / "oracle.npz"
needs_oracle = pytest.mark.skipif(not ORACLE.exists(), reason="no shared oracles")
needs_data = pytest.mark.skipif(not (SHARED / "data").exists(), reason="no shared data")

OURS = {"nucleus_threshold": 0.5, "seam_drop": 0.035, "smoothing_px": 0.8, "min_area_px": 10}
PUBLISHED = {"nucleus_threshold": 0.5, "edge_threshold": 0.4, "sobel_px": 21, "min_area_px": 10}


@cache
def _crowd(seed):
    """Maps of a crowded field of 320 px."""
    return _predicted(crowded_ellipses(320, seed), seed)


def _predicted(labels, seed, blur=1.2, noise=0.08):
    """Maps as a network gives them: blurred, with smooth and rough noise."""
    rng = np.random.default_rng(seed)
    target = Hover().encode(Labels(labels))

    def cloud(sigma):
        field = cv2.GaussianBlur(rng.standard_normal(labels.shape).astype(np.float32), (0, 0), sigma)
        return field / field.std()

    hover = np.stack([cv2.GaussianBlur(plane, (0, 0), blur) + noise * cloud(2.5) for plane in target["hover"]])
    hover += 0.02 * rng.standard_normal(hover.shape).astype(np.float32)
    nucleus = cv2.GaussianBlur(target["nucleus"][0], (0, 0), 1.0) + 0.1 * cloud(2.0)
    return {"nucleus": np.clip(nucleus, 0, 1).astype(np.float32)[None], "hover": hover.astype(np.float32)}


@pytest.mark.parametrize(
    "representation", [Hover(), Hover(2), Hover(2, nucleus_channels=2), Hover.at(0.5, classes=2)], ids=range(4)
)
def test_keeps_the_contract(representation):
    check_representation(representation)


def test_published_way_keeps_it_but_for_small_and_thin_nuclei():
    check_representation(Hover(2, compat=True), skip=("many", "thin"))


# --- fast against plain ---


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_floods_agree(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 20, 2))
    inside = rng.random(shape) < 0.8
    markers = np.where(rng.random(shape) < 0.1, rng.integers(1, 9, shape), 0).astype(np.int32)
    levels = rng.integers(0, 5, shape).astype(np.uint16)
    assert np.array_equal(flood(markers, levels, inside.astype(np.int32)), flood_plain(markers, levels, inside))


def test_seam_drops_agree():
    labels = crowded_ellipses(96, 1)
    hover = _predicted(labels, 2)["hover"]
    hover[:, 30:33, 40:44] = np.nan
    fast = seam_drop_map(hover, (labels > 0).astype(np.int32), 0.8)
    assert np.allclose(fast, seam_drop_map_plain(hover, labels > 0, 0.8), atol=1e-5)


def test_taken_in_strips_the_levels_are_the_same_to_the_bit():
    labels = np.tile(crowded_ellipses(96, 1), (3, 1))
    hover = np.tile(_predicted(crowded_ellipses(96, 1), 2)["hover"], (1, 3, 1))
    hover[:, 126:131, 40:44] = np.nan
    whole = seam_levels(seam_drop_map(hover, labels, 0.8), labels, 0.035)
    assert whole.max() > 0
    assert np.array_equal(_seam_levels(hover, labels, 0.8, 0.035), whole)


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_agree_with_the_plain_ones(seed):
    maps = _predicted(crowded_ellipses(128, seed), seed)
    for fast, plain, constants in (
        (separate, separate_plain, OURS),
        (separate_as_published, separate_as_published_plain, PUBLISHED),
    ):
        found = fast(maps["nucleus"][0], maps["hover"], **constants)
        # Heights are told apart to a thousandth; a pixel between two nuclei may go to either.
        assert panoptic_quality(plain(maps["nucleus"][0], maps["hover"], **constants), found) > 0.99


# --- local, whatever else is in the field ---


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 3))
def test_a_nucleus_does_not_depend_on_where_the_field_is_cut(top, left, seed):
    maps = _crowd(seed)
    whole = Hover().decode(maps).labels
    window = (slice(top, top + 250), slice(left, left + 255))
    part = Hover().decode({name: values[:, *window] for name, values in maps.items()}).labels
    inner = (slice(64, 250 - 64), slice(64, 255 - 64))
    assert whole[window][inner].any()
    assert same_but_for_ids(whole[window][inner], part[inner])


def test_a_nucleus_does_not_depend_on_what_else_the_field_holds():
    maps = _predicted(crowded_ellipses(256, 5), 5)
    alone = Hover().decode(maps)
    loud = {name: np.pad(values, ((0, 0), (0, 0), (0, 64))) for name, values in maps.items()}
    loud["hover"][:, 100:130, 280:300] = 1e4
    both = Hover().decode(loud)
    assert np.array_equal(both.labels[:, :256], alone.labels)
    assert np.array_equal(both.scores, alone.scores)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("compat", [False, True])
def test_nuclei_are_solid_and_in_one_piece(seed, compat):
    labels = Hover(compat=compat).decode(_predicted(crowded_ellipses(128, seed), seed, noise=0.3)).labels
    assert np.array_equal(labels, clean_instances(labels))


def test_decoding_twice_gives_the_same():
    maps = _predicted(crowded_ellipses(200, 6), 6)
    first, second = Hover().decode(maps), Hover().decode(maps)
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.scores, second.scores)


# --- poor maps ---


@pytest.mark.parametrize("compat", [False, True])
def test_empty_maps_hold_no_nuclei(compat):
    maps = {"nucleus": np.zeros((1, 40, 50)), "hover": np.zeros((2, 40, 50)), "types": np.zeros((4, 40, 50))}
    found = Hover(3, compat=compat).decode(maps)
    assert len(found) == 0
    assert found.labels.shape == (40, 50)
    assert found.class_probabilities.shape == (0, 3)


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_do_no_harm_elsewhere(compat, value):
    maps = _predicted(crowded_ellipses(160, 7), 7)
    sound = Hover(compat=compat).decode(maps)
    maps["hover"][:, :20, :20] = value
    maps["nucleus"][:, :10, :10] = np.nan
    found = Hover(compat=compat).decode(maps)
    assert np.isfinite(found.scores).all()
    far = np.s_[84:, 84:]
    if compat:
        assert panoptic_quality(sound.labels[far], found.labels[far]) > 0.5
    else:
        assert same_but_for_ids(sound.labels[far], found.labels[far])


@pytest.mark.parametrize("compat", [False, True])
def test_maps_of_one_value_everywhere(compat):
    maps = {"nucleus": np.ones((1, 30, 30), np.float16), "hover": np.zeros((2, 30, 30), np.float16)}
    assert len(Hover(compat=compat).decode(maps)) <= 1


def test_half_precision_finds_the_same_nuclei():
    maps = _predicted(crowded_ellipses(200, 8), 8)
    full = Hover().decode(maps)
    half = Hover().decode({name: values.astype(np.float16) for name, values in maps.items()})
    assert panoptic_quality(full.labels, half.labels) > 0.98


def test_debris_vanishes_and_small_nuclei_stay():
    labels = np.zeros((40, 40), np.int32)
    labels[5:8, 5:8] = 1
    labels[20:24, 20:23] = 2
    found = Hover().decode(Hover().encode(Labels(labels)))
    assert np.array_equal(found.labels > 0, labels == 2)


def test_constants_follow_the_resolution():
    half = Hover.at(0.5, classes=3)
    assert (half.min_area_px, half.sobel_px, half.smoothing_px, half.classes) == (3, 11, 0.4, 3)
    assert Hover.at(0.25) == Hover()
    with pytest.raises(ResolutionError):
        Hover.at(0.0)


# --- real nuclei ---


@needs_oracle
@pytest.mark.parametrize("crop", range(6))
@pytest.mark.parametrize(("name", "mpp"), [("label_40x", 0.25), ("label_20x", 0.5)])
def test_published_way_agrees_with_cellvit(crop, name, mpp):
    """Labels by CellViT's post-processing (repository 05097e1) on the same maps."""
    with np.load(ORACLE) as stored:
        maps = {
            "nucleus": stored[f"{crop}/binary"][None].astype(np.float32),
            "hover": stored[f"{crop}/hv_x100"].astype(np.float32) / 100,
        }
        expected, truth = (stored[f"{crop}/{k}"].astype(np.int32) for k in (name, "truth"))
    published, ours = Hover.at(mpp, compat=True).decode(maps), Hover().decode(maps)
    assert panoptic_quality(expected, published.labels) >= 0.99
    assert panoptic_quality(truth, ours.labels) > panoptic_quality(truth, published.labels)
    assert abs(len(ours) - len(np.unique(truth)) + 1) < abs(len(published) - len(np.unique(truth)) + 1)


@needs_data
@pytest.mark.parametrize("folder", ["consep", "monuseg", "tnbc", "nuinsseg", "pannuke_breast25"])
def test_real_nuclei_come_back(folder):
    total = PanopticCounts(0, 0, 0, 0.0)
    for path in sorted((SHARED / "data" / folder).glob("*.npz"))[::6][:5]:
        with np.load(path) as stored:
            labels = stored["inst"][:512, :512]
        found = Hover().decode(Hover().encode(Labels(labels)))
        total = total + panoptic_counts(labels, found.labels)
    assert total.tp > 0
    assert float(total.quality().pq) >= 0.98
