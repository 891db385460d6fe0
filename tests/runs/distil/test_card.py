"""The card of a student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from histocyte.core.instances import Instances
from histocyte.datasets.sample import Sample
from histocyte.evaluation.compare import Comparison, compare_reports
from histocyte.evaluation.image_json import StoredReport
from histocyte.evaluation.protocol import Predictor, evaluate
from histocyte.runs.distil.card import Cost, card_json, card_markdown, worse_classes
from histocyte.testing.scenes import packed_ellipses

CLASSES = ("a | b", "c")


def samples() -> list[Sample]:
    found = []
    for seed in range(8):
        labels = packed_ellipses((96, 96), 12, seed=seed)
        types = np.array([0, *(1 + np.arange(labels.instances.max()) % 2)], np.uint8)
        image = np.repeat(labels.instances.astype(np.uint8)[..., None], 3, axis=2)
        found.append(Sample(f"s{seed}", image, labels.instances, types, 0.25, "painted", f"s{seed}"))
    return found


def reading(*, sees_c: bool) -> Predictor:
    def predict(image: np.ndarray, mpp: float) -> Instances:
        labels = image[..., 0].astype(np.int32)
        count = int(labels.max())
        kind = np.arange(count) % 2 if sees_c else np.zeros(count, np.int64)
        return Instances(labels, np.eye(2, dtype=np.float32)[kind], np.ones(count, np.float32))

    return predict


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    stored = []
    for title, sees_c in (("teacher", True), ("student", False)):
        report = evaluate(reading(sees_c=sees_c), samples(), CLASSES, replicates=100)
        stored.append(StoredReport(Path(title), title, report.class_names, report.images, report.mode))
    return compare_reports(*stored, replicates=100)


def test_a_class_that_is_lost_is_named(comparison: Comparison) -> None:
    assert worse_classes(comparison) == ["painted: a | b", "painted: c"]
    measured = {"runtime": "torch", "mm2_per_minute": 1.5, "network_mm2_per_minute": 2.5, "peak_bytes": 10**9}
    costs = {"teacher": Cost(3_590_760, 14_400_000, measured, {}), "student": Cost(155_512, 660_000, {}, {})}
    card = card_json({"student": "student"}, [comparison], costs, ["A note."])
    assert card["comparisons"][0]["classes_significantly_worse"] == ["painted: a | b", "painted: c"]
    assert "painted: c" in card["comparisons"][0]["classes_with_intervals_apart"]
    assert card["costs"]["student"]["measured"] == {}
    text = card_markdown("student", {"made by": "<b>\n# x"}, [comparison], costs, ["A note."])
    assert "worse in painted: a \\| b, painted: c." in text
    assert "\\<b\\> # x" in text
    lines = text.splitlines()
    assert "| weights | 3,590,760 | 155,512 |" in lines
    assert "| CPU, mm²/min per core | 1.5 (2.5) | – |" in lines
    assert "| peak memory | 1,000 MB | – |" in lines
    assert "PQ, image mean" not in text
    row = next(line for line in lines if line.startswith("| c: F1"))
    assert row.startswith("| c: F1 | 1.000 (1.000 to 1.000) | 0.000 (0.000 to 0.000) | −1.000 (−1.000 to −1.000) |")
    assert next(line for line in lines if line.startswith("| bPQ")).endswith("| 8 |")


def test_the_same_twice_is_worse_in_none(comparison: Comparison) -> None:
    report = evaluate(reading(sees_c=True), samples(), CLASSES, replicates=100)
    stored = StoredReport(Path("t"), "teacher", report.class_names, report.images, report.mode)
    same = compare_reports(stored, stored, replicates=100)
    assert worse_classes(same) == []
    gpu = {"runtime": "torch", "mm2_per_minute": 100.0, "network_mm2_per_minute": 200.0}
    text = card_markdown("x", {}, [same], {"x": Cost(1, 1, {}, gpu)})
    assert "below 0: worse in none." in text
    assert "| GPU, mm²/min | 100 (200) |" in text


def test_of_two_images_no_class_is_called_worse_or_safe() -> None:
    stored = []
    for title, sees_c in (("teacher", True), ("student", False)):
        report = evaluate(reading(sees_c=sees_c), samples()[:2], CLASSES, replicates=100)
        stored.append(StoredReport(Path(title), title, report.class_names, report.images, report.mode))
    two = compare_reports(*stored, replicates=100)
    assert worse_classes(two) == []
    text = card_markdown("x", {}, [two], {"x": Cost(1, 1, {}, {})})
    assert "worse in none; without an interval, and so not told: painted: a \\| b, painted: c." in text
    assert "fewer than 5 patients, slides or single images" in text
    assert card_json({}, [two], {})["comparisons"][0]["classes_without_interval"] == ["painted: a | b", "painted: c"]
