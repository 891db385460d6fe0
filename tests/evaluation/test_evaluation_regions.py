import json

import numpy as np
import pytest

from histocyte.core.errors import InputError
from histocyte.datasets.sample import Sample
from histocyte.evaluation.regions import evaluate_regions

NAMES = ("stroma", "tumour")


def sample(truth, **regions):
    truth = np.array(truth, np.uint8)
    image = np.repeat(truth[..., None], 3, axis=2)
    return Sample(
        "a", image, np.zeros(truth.shape, np.int32), None, 0.5, "set", "", regions=regions or {"tissue": truth}
    )


def always_tumour(image, mpp):
    return np.ones(image.shape[:2], np.uint8)


def test_pooled_and_image_means_by_hand():
    report = evaluate_regions(
        always_tumour,
        [sample([[1, 1, 1, 1]]), sample([[0, 1, 255, 255]])] * 3,
        "tissue",
        NAMES,
        ignore=255,
        replicates=50,
    )
    assert report.n_images == 6
    assert report.pooled["accuracy"].value == 5 / 6
    assert report.image_mean["accuracy"].value == 0.75
    assert (report.iou[0].value, report.iou[1].value) == (0, 5 / 6)
    assert report.dice[1].value == pytest.approx(10 / 11)
    assert report.pooled["mean_iou"].value == pytest.approx(5 / 12)
    assert report.image_mean["mean_iou"].value == pytest.approx((1 + 0.25) / 2)
    assert 0.5 <= report.pooled["accuracy"].low < 5 / 6 < report.pooled["accuracy"].high <= 1
    assert np.isnan(report.iou[0].low)  # three images have stroma
    json.dumps(report.to_json(), allow_nan=False)


def test_images_without_the_map_are_passed_over():
    with_map, without = sample([[0, 1]]), sample([[0, 1]], other=np.zeros((1, 2), np.uint8))
    assert evaluate_regions(always_tumour, [without, with_map], "tissue", NAMES, replicates=5).n_images == 1
    with pytest.raises(InputError, match="region map 'tissue'"):
        evaluate_regions(always_tumour, [without], "tissue", NAMES)
