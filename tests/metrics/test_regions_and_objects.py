import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.metrics.classification import auroc_one_vs_rest, macro_auroc, top1_accuracy
from histocyte.metrics.detection import DetectionCounts
from histocyte.metrics.objects import object_counts, object_dice, object_hausdorff
from histocyte.metrics.regions import region_counts

TRUTH = np.array([[0, 0, 1, 1], [0, 1, 1, 255]], np.uint8)
FOUND = np.array([[0, 1, 1, 1], [0, 0, 1, 0]], np.uint8)


def test_region_scores_by_hand():
    counts = region_counts(TRUTH, FOUND, n_classes=3, ignore=255)
    np.testing.assert_array_equal(counts.confusion, [[2, 1, 0], [1, 3, 0], [0, 0, 0]])
    assert counts.accuracy == 5 / 7
    np.testing.assert_allclose(counts.iou, [2 / 4, 3 / 5, np.nan])
    np.testing.assert_allclose(counts.dice, [4 / 6, 6 / 8, np.nan])
    assert counts.mean_iou == pytest.approx(0.55)
    assert (counts + counts).mean_dice == pytest.approx(17 / 24)


def test_a_class_that_is_only_found_lowers_others_but_is_not_averaged():
    counts = region_counts(np.zeros((1, 4), int), np.array([[0, 0, 2, 2]]), n_classes=3)
    np.testing.assert_allclose(counts.iou, [0.5, np.nan, 0])
    assert counts.mean_iou == 0.5


def test_wrong_region_maps_are_refused():
    with pytest.raises(InputError, match="holds classes 0 to 255"):
        region_counts(TRUTH, FOUND, n_classes=2)
    with pytest.raises(InputError, match="differ in shape"):
        region_counts(TRUTH, FOUND[:1], n_classes=2)
    assert np.isnan(region_counts(TRUTH[:0], FOUND[:0], n_classes=2).accuracy)


def gland(*boxes):
    labels = np.zeros((30, 40), np.int32)
    for i, (row, column, height, width) in enumerate(boxes, 1):
        labels[row : row + height, column : column + width] = i
    return labels


def test_glands_identical_and_absent():
    labels = gland((0, 0, 10, 10), (15, 15, 5, 20))
    empty = gland()
    assert object_counts(labels, labels) == DetectionCounts(2, 0, 0)
    assert (object_dice(labels, labels), object_hausdorff(labels, labels)) == (1, 0)
    assert object_counts(labels, empty) == DetectionCounts(0, 0, 2)
    assert object_dice(labels, empty) == 0
    assert object_hausdorff(labels, empty) == np.inf
    assert np.isnan(object_dice(empty, empty))
    assert np.isnan(object_hausdorff(empty, empty))


def test_gland_scores_by_hand():
    truth = gland((0, 0, 10, 10), (20, 0, 5, 20))
    found = gland((0, 3, 10, 10), (0, 30, 10, 5))
    assert object_counts(truth, found) == DetectionCounts(1, 1, 1)
    # Dice of the pair is 0.7; it is half of the true area and two thirds of the found area.
    assert object_dice(truth, found) == pytest.approx((0.5 * 0.7 + (2 / 3) * 0.7) / 2)
    # 3 px for the pair. The lower truth's nearest is the pair's found gland, 20 px (its top row to row 20); the block
    # on the right is 30 px from either truth (column 0 to column 30).
    assert object_hausdorff(truth, found) == pytest.approx((0.5 * 3 + 0.5 * 20 + (2 / 3) * 3 + (1 / 3) * 30) / 2)


def test_half_covered_gland_is_a_hit():
    assert object_counts(gland((0, 0, 10, 10)), gland((0, 5, 10, 10))).tp == 1
    assert object_counts(gland((0, 0, 10, 10)), gland((0, 6, 10, 10))).tp == 0


def test_classification_by_hand():
    probabilities = np.array([[0.7, 0.3, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.6, 0.4, 0]])
    truth = np.array([0, 1, 1, 0])
    assert top1_accuracy(probabilities, truth) == 0.75
    # Class 0: of the 4 pairs (positive, negative), 3 in order and one tie.
    np.testing.assert_allclose(auroc_one_vs_rest(probabilities, truth), [3.5 / 4, 3.5 / 4, np.nan])
    assert macro_auroc(probabilities, truth) == 3.5 / 4
    assert np.isnan(top1_accuracy(probabilities[:0], truth[:0]))
    with pytest.raises(InputError, match="4 rows"):
        macro_auroc(probabilities, truth[:2])
