from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.datasets.sample import IGNORED, Sample
from histocyte.evaluation.page.regions import RegionGallery, write_region_page
from histocyte.evaluation.regions import RegionReport, evaluate_regions
from histocyte.pipeline import Regions

NAMES = ("stroma", "tumour")
TAXONOMY = Taxonomy("tissue", (CellClass("stroma", (0, 0, 255)), CellClass("tumour", (255, 0, 0))))


def sample(truth: object, *, name: str = "a", group: str = "", objects: bool = False) -> Sample:
    """Of class codes, 255 for those that nobody knows."""
    codes = np.array(truth, np.int32)
    ignored = codes == 255
    instances = np.where(ignored, 0, codes)
    image = np.zeros((*codes.shape, 3), np.uint8)
    types = np.minimum(np.arange(instances.max() + 1), 1 if objects else 255).astype(np.uint8)
    return Sample(name, image, instances, types, 0.5, "set", group, separable=objects, areas=True, ignored=ignored)


def always(code: int) -> Callable[[NDArray[np.uint8], float], Regions]:
    def predict(image: NDArray[np.uint8], mpp: float) -> Regions:
        classes = np.full(image.shape[:2], code, np.uint8)
        return Regions(classes, classes.astype(np.int32))

    return predict


def by_hand() -> RegionReport:
    return evaluate_regions(always(2), [sample([[2, 2, 2, 2]]), sample([[1, 2, 255, 255]])] * 3, NAMES, replicates=50)


def test_pooled_and_image_means_by_hand() -> None:
    report = by_hand()
    source = report.sources["set"]
    assert report.class_names == ("background", *NAMES)
    assert source.n_images == 6
    assert source.scores["accuracy"].value == 5 / 6
    assert source.scores["image_accuracy"].value == 0.75
    assert (source.iou[1].value, source.iou[2].value) == (0, 5 / 6)
    assert source.dice[2].value == pytest.approx(10 / 11)
    assert source.scores["mean_iou"].value == pytest.approx(5 / 12)
    assert source.scores["image_iou"].value == pytest.approx((1 + 0.25) / 2)
    assert 0.5 <= source.scores["accuracy"].low < 5 / 6 < source.scores["accuracy"].high <= 1
    assert np.isnan(source.iou[1].low)  # three images have stroma
    assert "object_f1" not in source.scores
    json.dumps(report.to_json(), allow_nan=False)


def test_patients_are_resampled_whole() -> None:
    rows = [sample([[2, 2]], name=f"{i}", group=f"{i % 2}") for i in range(6)]
    source = evaluate_regions(always(2), rows, NAMES, replicates=20).sources["set"]
    assert (source.n_groups, source.n_images) == (2, 6)
    assert np.isnan(source.scores["accuracy"].low)  # two patients are too few


def test_without_a_background_unlabelled_pixels_do_not_count() -> None:
    report = evaluate_regions(always(2), [sample([[0, 2]])], NAMES, background=False, replicates=5)
    assert report.class_names == NAMES
    assert report.sources["set"].confusion.tolist() == [[0, 0], [0, 1]]


def test_objects_are_scored_where_the_labels_part_them() -> None:
    truth = sample([[1, 1, 0, 2, 2]], objects=True)

    def predict(image: NDArray[np.uint8], mpp: float) -> Regions:
        return Regions(np.array([[1, 1, 0, 0, 0]], np.uint8), np.array([[1, 1, 0, 0, 0]], np.int32))

    scores = evaluate_regions(predict, [truth], ("gland",), replicates=5).sources["set"].scores
    assert scores["object_f1"].value == pytest.approx(2 / 3)
    assert scores["object_dice"].value == pytest.approx((0.5 + 1) / 2)
    assert scores["object_hausdorff_um"].value == pytest.approx(0.5 * (0.5 * 0 + 0.5 * 3 + 0) * 0.5)


def test_nothing_found_is_as_far_as_an_image_is_wide() -> None:
    row = evaluate_regions(always(0), [sample([[1, 1, 0, 0]], objects=True)], ("gland",), replicates=5).images[0]
    assert row.object_hausdorff_um == pytest.approx(0.5 * np.hypot(1, 4))


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(InputError, match="no image to score"):
        evaluate_regions(always(0), [], NAMES)


def test_table_csv_and_page(tmp_path: Path) -> None:
    report, gallery = by_hand(), RegionGallery()
    gallery.add(sample([[1, 2, 255, 2]], name="<worst>"), always(2)(np.zeros((1, 4, 3), np.uint8), 1), report.images[1])
    assert [row.score for row in report.table()][-2:] == ["tumour: Dice", "tumour: IoU"]
    report.write_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["dice tumour"], rows[0]["dice stroma"]) == ("1.0", "")
    page = tmp_path / "a.html"
    write_region_page(report, page, TAXONOMY, title="A <b>", gallery=gallery)
    text = page.read_text()
    assert "A &lt;b&gt;" in text
    assert text.count("data:image/webp") == 4
    assert "25% of the pixels are wrong" in text
    assert "http" not in text.replace("data:", "")


def test_the_class_map_says_what_is_unknown() -> None:
    assert sample([[0, 2, 255]]).class_map.tolist() == [[0, 2, IGNORED]]
