"""Agreement with the field's own programs, on their stored answers to 15 pairs of label maps.

The figures are what HoVer-Net (67e2ce5), PanNuke-metrics (c00014d), CoNIC (c1c4964) and scikit-learn gave.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from histocyte.metrics.aji import aji, aji_plus
from histocyte.metrics.counts import class_counts, r_squared
from histocyte.metrics.detection import (
    DetectionCounts,
    centroids,
    class_detection_counts,
    detection_radius_px,
    match_centroids,
)
from histocyte.metrics.dice import dice, dice_ensemble
from histocyte.metrics.panoptic import mpq_plus, panoptic_counts, panoptic_counts_by_class
from histocyte.statistics.averages import nan_mean

FOLDER = Path(__file__).parents[2].parent / "shared" / "oracles" / "metrics"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the reference answers are not here")
IMAGES = range(15)
EXACT = 1e-9


@cache
def expected():
    return json.loads((FOLDER / "expected.json").read_text())


@cache
def pairs():
    with np.load(FOLDER / "pairs.npz") as archive:
        return {name: archive[name] for name in archive.files}


def pair(k):
    return tuple(pairs()[f"{k}/{part}"] for part in ("true", "true_type", "pred", "pred_type"))


def answer(k, name):
    return expected()["per_image"][k][name]


def check(ours, theirs, *, where_theirs_fails):
    if isinstance(theirs, str):
        theirs = where_theirs_fails
    np.testing.assert_allclose(ours, np.nan if theirs is None else theirs, rtol=0, atol=EXACT)


@pytest.mark.parametrize("k", IMAGES)
def test_panoptic_quality_is_that_of_hovernet(k):
    truth, _, found, _ = pair(k)
    theirs = answer(k, "hovernet_dq_sq_pq")
    check(panoptic_counts(truth, found).quality("hovernet"), theirs, where_theirs_fails=np.nan)


@pytest.mark.parametrize("k", IMAGES)
def test_panoptic_quality_is_that_of_pannuke(k):
    truth, truth_types, found, found_types = pair(k)
    check(panoptic_counts(truth, found).quality("pannuke").pq, answer(k, "pannuke_bpq"), where_theirs_fails=None)
    counts = panoptic_counts_by_class(truth, truth_types, found, found_types, n_classes=4)
    ours = [float(c.quality("pannuke").pq) for c in counts]
    theirs = [np.nan if v is None else v for v in answer(k, "pannuke_class_pq")]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=EXACT)
    check(nan_mean(ours), answer(k, "pannuke_mpq"), where_theirs_fails=None)


@pytest.mark.parametrize("k", IMAGES)
def test_counts_and_panoptic_quality_are_those_of_conic(k):
    truth, truth_types, found, found_types = pair(k)
    counts = panoptic_counts_by_class(truth, truth_types, found, found_types, n_classes=4)
    ours = [(c.tp, c.fp, c.fn, c.iou_sum) for c in counts]
    np.testing.assert_allclose(ours, answer(k, "conic_tp_fp_fn_sumiou_per_class"), rtol=0, atol=EXACT)
    check(panoptic_counts(truth, found).quality("conic").pq, answer(k, "conic_pq"), where_theirs_fails=None)


def test_means_over_images_are_those_of_pannuke():
    bpq, mpq = [], []
    for k in IMAGES:
        truth, truth_types, found, found_types = pair(k)
        counts = panoptic_counts_by_class(truth, truth_types, found, found_types, n_classes=4)
        bpq.append(float(panoptic_counts(truth, found).quality("pannuke").pq))
        mpq.append(nan_mean([float(c.quality("pannuke").pq) for c in counts]))
    theirs = expected()["pannuke_mean_over_images"]
    assert nan_mean(bpq) == pytest.approx(theirs["bpq"], abs=EXACT)
    assert nan_mean(mpq) == pytest.approx(theirs["mpq"], abs=EXACT)


def test_pooled_panoptic_quality_is_that_of_conic():
    pooled = None
    for k in IMAGES:
        truth, truth_types, found, found_types = pair(k)
        counts = panoptic_counts_by_class(truth, truth_types, found, found_types, n_classes=4)
        pooled = counts if pooled is None else tuple(a + b for a, b in zip(pooled, counts, strict=True))
    mean, by_class = mpq_plus(pooled, absent="zero")
    assert mean == pytest.approx(expected()["conic_mpq_plus"]["mean"], abs=EXACT)
    np.testing.assert_allclose(by_class, expected()["conic_mpq_plus"]["per_class"], rtol=0, atol=EXACT)


@pytest.mark.parametrize("k", IMAGES)
@pytest.mark.parametrize(
    ("ours", "theirs", "empty_found"),
    [
        (aji, "hovernet_aji", 0.0),
        (aji_plus, "hovernet_aji_plus", 0.0),
        (dice, "hovernet_dice_1", 0.0),
        (dice_ensemble, "hovernet_fast_dice_2", 0.0),
    ],
)
def test_area_scores_are_those_of_hovernet(k, ours, theirs, empty_found):
    truth, _, found, _ = pair(k)
    both_empty = not truth.any() and not found.any()
    check(ours(truth, found), answer(k, theirs), where_theirs_fails=np.nan if both_empty else empty_found)


def test_detection_and_classification_are_those_of_hovernet():
    detection, classes, right, matched = DetectionCounts(0, 0, 0), None, 0, 0
    for k in range(12):
        truth, truth_types, found, found_types = pair(k)
        (truth_ids, truth_xy), (found_ids, found_xy) = centroids(truth), centroids(found)
        match = match_centroids(truth_xy, found_xy, radius_px=detection_radius_px(0.25))
        of_truth, of_found = truth_types[truth_ids], found_types[found_ids]
        counts = class_detection_counts(match, of_truth, of_found, n_classes=4)
        detection = detection + match.counts()
        classes = counts if classes is None else tuple(a + b for a, b in zip(classes, counts, strict=True))
        right += int(np.sum(of_truth[match.truth] == of_found[match.found]))
        matched += len(match.truth)
    line = f"[{detection.f1: .5f} {right / matched: .5f} " + " ".join(f"{c.f1: .5f}" for c in classes) + "]"
    assert line == expected()["hovernet_run_nuclei_type_stat_images_0_to_11"][0]


def test_agreement_of_counts_is_that_of_sklearn():
    counted = []
    for k in IMAGES:
        truth, truth_types, found, found_types = pair(k)
        counted.append([class_counts(truth, truth_types, n_classes=4), class_counts(found, found_types, n_classes=4)])
    truth, found = np.array(counted).transpose(1, 0, 2)
    np.testing.assert_allclose(r_squared(truth, found), expected()["r2_per_class_sklearn"], rtol=0, atol=EXACT)
