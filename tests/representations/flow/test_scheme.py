"""Flow maps written as Cellpose does, and read back as nuclei wherever the field is cut, however poor the maps."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from histocyte.core.errors import InputError, ResolutionError
from histocyte.core.instances import Labels
from histocyte.core.labels import clean_instances
from histocyte.metrics.panoptic import PanopticCounts, panoptic_counts
from histocyte.representations.flow.decode import (
    _ends,
    _ends_as_published,
    _prepared,
    separate,
    separate_as_published,
)
from histocyte.representations.flow.decode_plain import ends_plain, separate_as_published_plain, separate_plain
from histocyte.representations.flow.scheme import Flow
from histocyte.representations.flow.targets import flow_errors, flow_map, flow_map_plain
from histocyte.representations.flow.targets_library import library_flow_map, library_flow_map_plain
from histocyte.testing.contracts import check_representation
from histocyte.testing.crowds import crowded_ellipses, panoptic_quality, same_but_for_ids

SHARED = Path(__file__).parents[3].parent / "shared"
needs_data = pytest.mark.skipif(not (SHARED / "data").exists(), reason="no shared data")

CONSTANTS = {"flow_scale": 5.0, "steps": 200, "seed_points": 10, "max_flow_error": 0.4, "min_area_px": 15}


def _predicted(labels, seed, noise=0.1):
    """Maps as a network gives them: blurred, with smooth and rough noise."""
    rng = np.random.default_rng(seed)
    target = Flow().encode(Labels(labels))

    def cloud(sigma):
        field = cv2.GaussianBlur(rng.standard_normal(labels.shape).astype(np.float32), (0, 0), sigma)
        return field / field.std()

    flow = [cv2.GaussianBlur(p, (0, 0), 1.2) + 5 * noise * cloud(2.5) + 0.15 * cloud(0.5) for p in target["flow"]]
    nucleus = cv2.GaussianBlur(target["nucleus"][0], (0, 0), 1.0) + 0.1 * cloud(2.0)
    return {"nucleus": np.clip(nucleus, 0, 1).astype(np.float32)[None], "flow": np.stack(flow).astype(np.float32)}


@cache
def _crowd(seed):
    """Maps of a crowded field of 320 px."""
    return _predicted(crowded_ellipses(320, seed), seed)


@pytest.mark.parametrize(
    "representation",
    [
        Flow(),
        Flow(2),
        Flow(2, "types", 1.0),
        Flow.at(0.5, classes=2),
        Flow(2, compat=True),
        Flow(2, "types", 1.0, compat=True),
        Flow(2, targets="cellseg_models"),
    ],
    ids=range(7),
)
def test_keeps_the_contract(representation):
    check_representation(representation)


# --- targets ---


def test_flows_point_down_and_right_towards_the_centre():
    labels = np.zeros((21, 21), np.int32)
    labels[3:18, 3:18] = 1
    down, across = flow_map(labels)
    assert down[4, 10] == pytest.approx(1, abs=1e-6)
    assert across[10, 4] == pytest.approx(1, abs=1e-6)
    assert down[16, 10] == pytest.approx(-1, abs=1e-6)
    assert across[10, 16] == pytest.approx(-1, abs=1e-6)
    assert np.abs([down[10, 10], across[10, 10]]).max() < 1e-6
    assert Flow().encode(Labels(labels))["flow"][0, 4, 10] == pytest.approx(5)
    assert Flow(flow_scale=1.0).encode(Labels(labels))["flow"][0, 4, 10] == pytest.approx(1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
@example(188, True)  # one pixel lies between two nuclei of the same size: rounding must not give it a direction
def test_flows_agree_with_the_plain_ones(seed, compat):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 5, rng.integers(1, 8, 2))
    labels = np.repeat(np.repeat(coarse, 4, 0), 3, 1).astype(np.int32)
    assert np.allclose(flow_map(labels, compat=compat), flow_map_plain(labels, compat=compat), atol=1e-6)


def test_flows_are_unit_vectors_also_in_the_ends_of_a_long_bent_nucleus():
    labels = np.zeros((120, 120), np.int32)
    labels[5:115, 5:8], labels[112:115, 5:115] = 1, 1
    length = np.hypot(*flow_map(labels))
    assert (length[labels > 0] > 0.999).sum() >= (labels > 0).sum() - 1
    assert (length[labels == 0] == 0).all()


def test_a_nucleus_has_the_same_flows_alone_and_in_a_crowd():
    labels = crowded_ellipses(96, 3)
    crowd = flow_map(labels)
    for i in range(1, int(labels.max()) + 1, 5):
        alone = flow_map((labels == i).astype(np.int32))
        assert np.array_equal(alone[:, labels == i], crowd[:, labels == i])
    assert not np.array_equal(flow_map(labels, compat=True), crowd)


def test_each_piece_of_a_cut_nucleus_has_a_centre():
    labels = np.zeros((30, 30), np.int32)
    labels[2:10, 2:10], labels[18:28, 15:25] = 1, 1
    ours, published = (np.hypot(*flow_map(labels, compat=compat)) for compat in (False, True))
    assert (ours[2:10, 2:10] > 0).mean() > 0.95
    assert (published[2:10, 2:10] == 0).all()


def test_flows_turn_with_the_nuclei():
    labels = np.zeros((23, 23), np.int32)  # odd, so that no centre is rounded
    labels[2:9, 3:16], labels[9:20, 5:12] = 1, 2
    down, across = flow_map(labels)
    turned_down, turned_across = flow_map(np.rot90(labels).copy())
    assert np.allclose(turned_down, -np.rot90(across), atol=1e-6)
    assert np.allclose(turned_across, np.rot90(down), atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_the_librarys_flows_agree_with_the_plain_ones(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 5, rng.integers(1, 8, 2))
    labels = np.repeat(np.repeat(coarse, 4, 0), 3, 1).astype(np.int32)
    assert np.allclose(library_flow_map(labels), library_flow_map_plain(labels), atol=1e-6)


def test_the_librarys_flows_start_from_the_median_and_cellposes_from_the_mean():
    labels = np.zeros((9, 40), np.int32)
    labels[2:7, 2:13], labels[4, 13:37] = 1, 1  # a blob of 55 px with a tail of 24: median column 9, mean 12.3
    ours, librarys = (Flow(targets=t).encode(Labels(labels))["flow"][1, 4] for t in ("cellpose", "cellseg_models"))
    assert np.sign(ours[[8, 10, 11, 13]]).tolist() == [1, 1, 1, -1]
    assert np.sign(librarys[[7, 8, 10, 11, 13]]).tolist() == [1, 1, -1, -1, -1]
    assert librarys[20] == pytest.approx(-5)


def test_the_librarys_flows_worked_out_by_hand():
    labels = np.zeros((4, 9), np.int32)
    labels[1, 7], labels[1:3, 1:4] = 1, 2  # a lone pixel, which takes no step, and 2 × 3 px, which take six
    side, middle = 0.0, 0.0  # heat enters at the upper pixel of the middle column; rows are alike after each step
    for _ in range(2 * (1 + 2)):
        side, middle = (2 * side + 2 * middle + 1) / 9, (4 * side + 2 * middle + 1) / 9
    flow = library_flow_map(labels)
    towards = np.array([np.log1p(side), np.log1p(middle)]) / np.hypot(np.log1p(side), np.log1p(middle))
    assert np.allclose(flow[:, 1, 1], towards)
    assert np.allclose(flow[:, 2, 3], -towards)
    assert np.allclose(flow[:, 1, 2], [1, 0])
    assert not flow[:, labels != 2].any()


def test_flow_errors_tell_right_from_wrong():
    labels = crowded_ellipses(64, 1)
    flow = flow_map(labels)
    assert flow_errors(labels, flow).max() < 1e-10
    ids = np.unique(labels)[1:]
    assert np.allclose(flow_errors(labels, -flow)[ids], 4, atol=0.2)
    assert np.allclose(flow_errors(labels, np.zeros_like(flow))[ids], 1, atol=0.1)


# --- fast against plain ---


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_agree_with_the_plain_ones(seed):
    maps = _predicted(crowded_ellipses(96, seed), seed)
    maps["flow"][0, 20:23, 30:34] = np.nan
    inside = maps["nucleus"][0] > 0.5
    ours = separate(inside, maps["flow"], **CONSTANTS, max_area_px=600)
    plain = separate_plain(inside, maps["flow"], **CONSTANTS, max_area_px=600)
    assert len(np.unique(ours)) > 15
    assert panoptic_quality(plain, ours) > 0.99  # a walker that still creeps when ours calls it at rest may end beside
    published = separate_as_published(inside, maps["flow"], **CONSTANTS, max_fraction=0.05)
    plain = separate_as_published_plain(inside, maps["flow"], **CONSTANTS, max_fraction=0.05)
    assert panoptic_quality(plain, published) > 0.99


@pytest.mark.parametrize("compat", [False, True])
def test_walks_end_where_the_plain_ones_do(compat):
    maps = _predicted(crowded_ellipses(96, 4), 4)
    inside = maps["nucleus"][0] > 0.5
    steps = _prepared(maps["flow"], inside, 0.2, np.inf if compat else 1.0)
    fast = (_ends_as_published if compat else _ends)(steps, inside, 200)[inside]
    plain = ends_plain(inside, steps[:-1, :-1].transpose(2, 0, 1).astype(np.float64), 200, compat=compat)
    # A few still creep when ours calls them at rest.
    assert (fast == plain[0] * 96 + plain[1]).mean() > 0.97


# --- local, whatever else is in the field ---


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2))
def test_a_nucleus_does_not_depend_on_where_the_field_is_cut(top, left, seed):
    maps = _crowd(seed)
    whole = Flow().decode(maps).labels
    window = (slice(top, top + 250), slice(left, left + 255))
    part = Flow().decode({name: values[:, *window] for name, values in maps.items()}).labels
    inner = (slice(64, 250 - 64), slice(64, 255 - 64))
    assert whole[window][inner].any()
    assert same_but_for_ids(whole[window][inner], part[inner])


def test_a_nucleus_does_not_depend_on_what_else_the_field_holds():
    maps = _predicted(crowded_ellipses(256, 5), 5)
    alone = Flow().decode(maps)
    loud = {name: np.pad(values, ((0, 0), (0, 0), (0, 64))) for name, values in maps.items()}
    loud["nucleus"][:, 100:130, 280:300] = 1
    loud["flow"][:, 100:130, 280:300] = 1e4
    both = Flow().decode(loud)
    assert same_but_for_ids(both.labels[:, :256], alone.labels)


def test_a_large_nucleus_is_kept_in_a_small_field_but_for_the_published_way():
    rows, columns = np.mgrid[:60, :60]
    labels = (np.hypot(rows - 30, columns - 30) < 25).astype(np.int32)
    assert len(Flow().decode(Flow().encode(Labels(labels)))) == 1
    assert len(Flow(compat=True).decode(Flow().encode(Labels(labels)))) == 0
    assert len(Flow(max_area_px=1000).decode(Flow().encode(Labels(labels)))) == 0


@pytest.mark.parametrize("compat", [False, True])
def test_nuclei_are_solid_and_in_one_piece(compat):
    labels = Flow(compat=compat, max_flow_error=0).decode(_predicted(crowded_ellipses(128, 0), 0, noise=0.4)).labels
    assert labels.any()
    assert np.array_equal(labels, clean_instances(labels))


# --- poor maps ---


@pytest.mark.parametrize("compat", [False, True])
def test_empty_maps_hold_no_nuclei(compat):
    maps = {"nucleus": np.zeros((1, 40, 50)), "flow": np.zeros((2, 40, 50)), "types": np.zeros((4, 40, 50))}
    found = Flow(3, compat=compat).decode(maps)
    assert len(found) == 0
    assert found.labels.shape == (40, 50)
    assert found.class_probabilities.shape == (0, 3)


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_do_no_harm_elsewhere(compat, value):
    maps = _predicted(crowded_ellipses(160, 7), 7)
    sound = Flow(compat=compat).decode(maps)
    maps["flow"][:, :20, :20] = value
    maps["nucleus"][:, :10, :10] = np.nan
    found = Flow(compat=compat).decode(maps)
    assert np.isfinite(found.scores).all()
    far = np.s_[84:, 84:]
    assert sound.labels[far].any()
    if not compat:
        assert same_but_for_ids(sound.labels[far], found.labels[far])


@pytest.mark.parametrize(("value", "length"), [(np.nan, 0), (np.inf, 0), (-np.inf, 0), (1e30, 1)])
def test_walkers_stand_where_a_flow_is_no_number_and_never_leap(value, length):
    flow = np.ones((2, 6, 6), np.float32)
    flow[0, 2, 3] = value
    steps = _prepared(flow, np.ones((6, 6), bool), 0.2, 1.0)
    assert np.hypot(*steps[2, 3]) == pytest.approx(length)
    assert np.isfinite(steps).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 30)])
@pytest.mark.parametrize("compat", [False, True])
def test_maps_of_one_value_everywhere(compat, shape):
    maps = {"nucleus": np.ones((1, *shape), np.float16), "flow": np.full((2, *shape), 5, np.float16)}
    assert len(Flow(compat=compat, max_flow_error=0).decode(maps)) <= 1


def test_flows_that_fit_no_shape_are_not_believed():
    labels = crowded_ellipses(96, 2)
    maps = dict(Flow().encode(Labels(labels)))
    wrong = labels == labels[labels > 0][0]
    maps["flow"] = np.where(wrong, -0.3 * maps["flow"][::-1], maps["flow"])
    believed, all_found = Flow().decode(maps).labels, Flow(max_flow_error=0).decode(maps).labels
    assert (all_found[wrong] > 0).any()
    assert not (believed[wrong] > 0).any()


def test_half_precision_finds_the_same_nuclei():
    maps = _predicted(crowded_ellipses(200, 8), 8)
    half = Flow().decode({name: values.astype(np.float16) for name, values in maps.items()})
    assert panoptic_quality(Flow().decode(maps).labels, half.labels) > 0.98


# --- foreground from the types map ---


def test_classes_share_the_foreground_but_for_the_published_way():
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 10:30] = 1
    maps = dict(Flow(2, "types").encode(Labels(labels, np.array([0, 1], np.uint8))))
    nucleus = labels > 0
    maps["types"] = np.stack([np.where(nucleus, 0.4, 1), 0.35 * nucleus, 0.25 * nucleus]).astype(np.float32)
    found = Flow(2, "types").decode(maps)
    assert len(found) == 1
    assert found.scores[0] == pytest.approx(0.6, abs=0.01)
    assert len(Flow(2, "types", compat=True).decode(maps)) == 0


def test_impossible_options_are_refused():
    with pytest.raises(InputError, match="'cellpose' or 'cellseg_models'"):
        Flow(targets="others")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no types map"):
        Flow(foreground="types")
    with pytest.raises(InputError, match="3 class weights for background and 4 classes"):
        Flow(4, class_weights=(1.0, 2.0, 3.0))


def test_constants_follow_the_resolution():
    half = Flow.at(0.5, classes=3, foreground="types", flow_scale=1.0, losses="lightweight")
    assert (half.steps, half.seed_points, half.min_area_px, half.max_area_px) == (100, 2, 4, 8000)
    assert (half.classes, half.foreground, half.flow_scale, half.losses) == (3, "types", 1.0, "lightweight")
    assert Flow.at(0.5, compat=True).seed_points == 10
    assert Flow.at(0.25) == Flow()
    with pytest.raises(ResolutionError):
        Flow.at(0.0)


# --- real nuclei ---


@needs_data
@pytest.mark.parametrize("folder", ["consep", "monuseg", "tnbc", "nuinsseg", "pannuke_breast25"])
def test_real_nuclei_come_back(folder):
    total = PanopticCounts(0, 0, 0, 0.0)
    for path in sorted((SHARED / "data" / folder).glob("*.npz"))[::6][:5]:
        with np.load(path) as stored:
            labels = stored["inst"][:512, :512]
        found = Flow().decode(Flow().encode(Labels(labels)))
        total = total + panoptic_counts(labels, found.labels)
    assert total.tp > 0
    assert float(total.quality().pq) >= 0.97
