"""Star maps read back as nuclei: what was written, which of two that overlap, however poor the maps."""

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
from histocyte.representations.star.decode import separate_stars
from histocyte.representations.star.decode_plain import separate_stars_plain, star_mask
from histocyte.representations.star.scheme import Star
from histocyte.representations.star.targets import (
    RAYS,
    distance_probability,
    distance_probability_plain,
    ray_distances,
    ray_distances_plain,
    split_pieces,
)
from histocyte.testing.contracts import check_representation, contract_scenes
from histocyte.testing.crowds import crowded_ellipses, panoptic_quality, same_but_for_ids

SHARED = Path(__file__).parents[3].parent / "shared"
ORACLE = SHARED / "oracles" / "hover" / "oracle.npz"
needs_oracle = pytest.mark.skipif(not ORACLE.exists(), reason="no shared oracles")
needs_data = pytest.mark.skipif(not (SHARED / "data").exists(), reason="no shared data")

OURS = {"nucleus_threshold": 0.5, "max_overlap": 0.5, "min_area_px": 10, "border_px": 0}
PUBLISHED = {"nucleus_threshold": 0.5, "max_overlap": 0.5, "min_area_px": 0, "border_px": 2}
LOOSE = {"nucleus_threshold": 0.2, "max_overlap": 0.3, "min_area_px": 25, "border_px": 1}
NOT_STARS = ("thin", "crescent")


@cache
def _predicted(size, seed, noise=0.08):
    """Maps as a network gives them: blurred, with smooth and rough noise."""
    rng = np.random.default_rng(seed)
    target = Star().encode(Labels(crowded_ellipses(size, seed)))

    def cloud(sigma):
        field = cv2.GaussianBlur(rng.standard_normal((size, size)).astype(np.float32), (0, 0), sigma)
        return field / field.std()

    rays = [cv2.GaussianBlur(r, (0, 0), 1.0) * (1 + noise * cloud(2.5)) + 0.2 * cloud(0.5) for r in target["rays"]]
    nucleus = cv2.GaussianBlur(target["nucleus"][0], (0, 0), 1.0) + 0.6 * noise * cloud(2.0)
    return {
        "nucleus": np.clip(nucleus, 0, 1).astype(np.float32)[None],
        "rays": np.maximum(np.stack(rays), 0).astype(np.float32),
    }


def _discs(*discs, size=48):
    """Maps in which each disc's centre (row, column, radius, probability) proposes it, and nothing else does."""
    maps = {"nucleus": np.zeros((1, size, size), np.float32), "rays": np.zeros((RAYS, size, size), np.float32)}
    for row, column, radius, probability in discs:
        maps["nucleus"][0, row, column], maps["rays"][:, row, column] = probability, radius
    return maps


@pytest.mark.parametrize(
    "representation", [Star(), Star(2), Star(2, refined=True), Star.at(0.5, classes=2)], ids=range(4)
)
def test_keeps_the_contract_but_for_thin_and_bent_nuclei(representation):
    check_representation(representation, skip=NOT_STARS)


def test_published_way_keeps_it_with_coarser_rims():
    check_representation(Star(2, compat=True), skip=NOT_STARS, min_quality=0.94)


def test_thin_nuclei_lose_their_tips_and_bent_ones_come_apart():
    scenes = contract_scenes()
    thin, bent = (Star().decode(Star().encode(Labels(scenes[name]))).labels for name in NOT_STARS)
    assert thin.max() == 3
    assert panoptic_quality(scenes["thin"], thin) > 0.88
    assert bent.max() == 3  # the crescent, as two, and what it holds
    assert panoptic_quality(scenes["crescent"], bent) > 0.6


# --- targets ---


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_targets_agree_with_the_plain_ones(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 24, 2))
    coarse = rng.integers(0, 4, (6, 6)).astype(np.int32)
    labels = coarse[np.ix_(np.arange(shape[0]) * 6 // 24, np.arange(shape[1]) * 6 // 24)]
    labels[rng.random(shape) < 0.1] = 0
    assert np.array_equal(distance_probability(labels), distance_probability_plain(labels))
    assert np.allclose(ray_distances(labels, published=True), ray_distances_plain(labels, published=True), atol=1e-4)
    # The plain one goes in steps of 1/64 px; past the very corner of a pixel it may miss it.
    apart = np.abs(ray_distances(labels) - ray_distances_plain(labels)) > 1 / 64
    assert apart.mean() < 1e-3


@needs_oracle
@pytest.mark.parametrize("crop", range(3))
def test_targets_are_cellvits(crop):
    """By CellViT's data set (repository 05097e1), kept in half precision."""
    with np.load(ORACLE) as stored:
        truth = stored[f"{crop}/small_inst"].astype(np.int32)
        depth, rays = (stored[f"{crop}/{k}"].astype(np.float32) for k in ("small_dist_prob", "small_stardist"))
    maps = Star(compat=True).encode(Labels(truth))
    assert np.abs(maps["nucleus"][0] - depth).max() < 5e-4
    assert np.abs(maps["rays"][:, ::2, ::2] - rays).max() < 0.01
    # Steps may leap over a corner of another nucleus; on the whole both measure the same.
    ours = Star().encode(Labels(truth))["rays"][:, ::2, ::2]
    assert np.abs(ours - rays)[:, truth[::2, ::2] > 0].mean() < 0.3


def test_rays_end_at_the_edge_of_the_last_pixel():
    labels = np.zeros((9, 11), np.int32)
    labels[2:7, 3:10] = 1
    rays = ray_distances(labels)[:, 4, 5]  # edges 4.5 px to the right, 2.5 down, 2.5 to the left, 2.5 up
    assert rays[[0, 8, 16, 24]] == pytest.approx([4.5, 2.5, 2.5, 2.5])
    assert rays[4] == pytest.approx(2.5 * np.sqrt(2))
    assert (ray_distances(labels)[:, labels == 0] == 0).all()


def test_pieces_of_one_nucleus_each_have_a_middle():
    labels = np.zeros((20, 40), np.int32)
    labels[5:15, 4:10] = labels[3:17, 20:34] = 7
    assert split_pieces(labels).max() == 2
    assert [distance_probability(labels)[:, half].max() for half in (slice(15), slice(15, 40))] == [1, 1]
    assert Star().decode(Star().encode(Labels(labels))).labels.max() == 2


def test_a_nucleus_may_fill_the_field():
    labels = np.ones((12, 16), np.int32)
    maps = Star().encode(Labels(labels))
    assert (maps["nucleus"] == 1).all()
    assert np.isfinite(maps["rays"]).all()


# --- decoding ---


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("constants", [OURS, PUBLISHED, LOOSE], ids=["ours", "published", "loose"])
def test_decoding_agrees_with_the_plain_one(seed, constants):
    maps = _predicted(48, seed, 0.15)
    fast, scores = separate_stars(maps["nucleus"][0], maps["rays"], **constants)
    plain, plain_scores = separate_stars_plain(maps["nucleus"][0], maps["rays"], **constants)
    assert fast.max() > 3
    assert np.array_equal(fast, plain)
    assert np.array_equal(scores, plain_scores)


def test_a_polygon_covers_the_pixels_whose_centres_it_holds():
    found = Star().decode(_discs((20, 25, 6.3, 0.9)))
    assert np.array_equal(found.labels == 1, star_mask(20, 25, np.full(RAYS, 6.3), (48, 48)))
    assert found.scores == pytest.approx([0.9])
    assert (found.labels > 0).sum() == pytest.approx(np.pi * 6.3**2, rel=0.03)


def test_of_two_that_share_too_much_the_surer_one_stays():
    # A small one within a large one shares all of itself, though a quarter of their union.
    assert Star().decode(_discs((20, 20, 12, 0.7), (20, 22, 6, 0.8))).scores == pytest.approx([0.8])
    beside = Star().decode(_discs((20, 14, 8, 0.7), (20, 26, 8, 0.8)))
    assert beside.scores == pytest.approx([0.8, 0.7])
    assert (beside.labels == 1).sum() > (beside.labels == 2).sum()  # what both claim is the surer one's
    assert len(Star(max_overlap=0.1).decode(_discs((20, 14, 8, 0.7), (20, 26, 8, 0.8)))) == 1


def test_one_that_was_left_out_suppresses_none():
    # The second falls to the first; the third overlaps the second alone.
    found = Star().decode(_discs((20, 12, 8, 0.9), (20, 18, 8, 0.8), (20, 27, 8, 0.7)))
    assert found.scores == pytest.approx([0.9, 0.7])


def test_published_way_counts_no_middle_at_the_border_and_any_size():
    maps = _discs((20, 1, 8, 0.9), (20, 24, 1.2, 0.8))
    ours, published = Star().decode(maps), Star(compat=True).decode(maps)
    assert (ours.labels[20, 1] > 0, ours.labels[20, 24] > 0) == (True, False)
    assert (published.labels[20, 1] > 0, published.labels[20, 24] > 0) == (False, True)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 1))
def test_a_nucleus_does_not_depend_on_where_the_field_is_cut(top, left, seed):
    maps = _predicted(320, seed)
    whole = Star().decode(maps).labels
    window = (slice(top, top + 250), slice(left, left + 255))
    part = Star().decode({name: values[:, *window] for name, values in maps.items()}).labels
    inner = (slice(64, 250 - 64), slice(64, 255 - 64))
    assert whole[window][inner].any()
    assert same_but_for_ids(whole[window][inner], part[inner])


def test_nuclei_are_solid_and_in_one_piece_the_surest_first():
    maps = _predicted(160, 3, 0.4)
    found = Star(compat=True).decode(maps)
    assert np.array_equal(found.labels, clean_instances(found.labels))
    assert (np.diff(found.scores) <= 0).all()


def test_decoding_twice_gives_the_same():
    first, second = (Star().decode(_predicted(160, 4)) for _ in range(2))
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.scores, second.scores)


# --- poor maps ---


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("shape", [(40, 50), (3, 2), (0, 8)])
def test_empty_maps_hold_no_nuclei(compat, shape):
    maps = {name: np.zeros((channels, *shape), np.float32) for name, channels in (("nucleus", 1), ("rays", RAYS))}
    found = Star(3, compat=compat).decode(maps | {"types": np.zeros((4, *shape), np.float32)})
    assert len(found) == 0
    assert found.labels.shape == shape
    assert found.class_probabilities.shape == (0, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -5.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_absurd_values_do_no_harm_elsewhere(value, dtype):
    with np.errstate(over="ignore"):
        maps = {name: values.astype(dtype) for name, values in _predicted(160, 7).items()}
        sound = Star().decode(maps)
        maps["nucleus"][:, :10, :10] = np.nan
        maps["rays"][9:, :20, :20] = np.array(value).astype(dtype)
    found = Star().decode(maps)
    assert np.isfinite(found.scores).all()
    far = np.s_[90:, 90:]
    if value < 1e38 or not np.isfinite(value) or dtype == np.float16:
        assert same_but_for_ids(sound.labels[far], found.labels[far])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_with_a_ray_that_is_no_number_proposes_nothing(value):
    maps = _discs((10, 10, 5, 0.9), (30, 30, 6, 0.8))
    maps["rays"][13, 10, 10] = value
    found = Star().decode(maps)
    assert found.scores == pytest.approx([0.8])
    assert found.labels[10, 10] == 0


def test_half_precision_finds_the_same_nuclei():
    maps = _predicted(200, 8)
    half = Star().decode({name: values.astype(np.float16) for name, values in maps.items()})
    assert panoptic_quality(Star().decode(maps).labels, half.labels) > 0.98


def test_constants_follow_the_resolution():
    half = Star.at(0.5, classes=3, refined=True)
    assert (half.min_area_px, half.classes, half.refined, half.border_px) == (3, 3, True, 2)
    assert Star.at(0.25) == Star()
    with pytest.raises(ResolutionError):
        Star.at(0.0)


# --- real nuclei ---


@needs_data
@pytest.mark.parametrize(
    ("folder", "ceiling"),
    # Measured over whole data sets: see the module's docstring. CoNSeP's are the least convex, CPM-15's the smallest.
    [
        ("consep", 0.955),
        ("monuseg", 0.965),
        ("tnbc", 0.955),
        ("nuinsseg", 0.95),
        ("pannuke_breast25", 0.95),
        ("cpm15", 0.89),
    ],
)
def test_real_nuclei_come_back_as_far_as_stars_carry_them(folder, ceiling):
    total = PanopticCounts(0, 0, 0, 0.0)
    for path in sorted((SHARED / "data" / folder).glob("*.npz"))[::6][:5]:
        with np.load(path) as stored:
            labels = stored["inst"][:400, :400].astype(np.int32)
        total = total + panoptic_counts(labels, Star().decode(Star().encode(Labels(labels))).labels)
    assert total.tp > 0
    assert float(total.quality().pq) >= ceiling
    assert float(total.quality().dq) >= 0.96
