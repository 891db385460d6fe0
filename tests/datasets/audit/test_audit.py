"""What an audit finds in sets that were damaged on purpose, and that it is silent on a good one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from histocyte.datasets.audit.audit import Audit, audit_samples
from histocyte.datasets.audit.finding import Severity
from histocyte.datasets.sample import Sample


def sample(name: str, seed: int = 0, *, source: str = "mine", **more: Any) -> Sample:
    """Dark ellipses 6 µm wide on a mottled pink ground, with two classes; no two seeds look alike."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 160, (256, 256, 1)), (0, 0), 4)[..., None]
    fine = rng.normal((225, 180, 210), 12, (256, 256, 3))
    image = np.clip(fine + texture, 0, 255).astype(np.uint8)
    labels = np.zeros((256, 256), np.int32)
    for number, (row, column) in enumerate(np.ndindex(6, 6), start=1):
        x, y = (int(24 + 40 * place + rng.integers(-7, 8)) for place in (column, row))
        long, wide, turn = (int(rng.integers(*limits)) for limits in ((12, 18), (7, 12), (0, 180)))
        cv2.ellipse(labels, (x, y), (long, wide), turn, 0, 360, number, -1)
    chromatin = cv2.GaussianBlur(rng.normal(0, 60, (256, 256)), (0, 0), 2)[..., None]
    image = np.where((labels > 0)[..., None], np.clip(image * 0.3 + chromatin, 0, 255), image).astype(np.uint8)
    types = np.array([0, *np.resize((1, 2), 36)], np.uint8)
    given: dict[str, Any] = {"mpp": 0.25, "group": name, **more}
    return Sample(name, cv2.blur(image, (3, 3)), labels, types, source=source, **given)


def good(count: int = 4) -> list[Sample]:
    return [sample(f"i{i}", i) for i in range(count)]


def audit(samples: Sequence[Sample], splits: Sequence[str] = (), classes: Sequence[str] = ("a", "b")) -> Audit:
    return audit_samples(samples, classes={"mine": classes}, splits=splits or [""] * len(samples))


def checks(found: Audit) -> dict[str, Severity]:
    return {finding.check: finding.severity for finding in found.findings}


def test_a_good_set_has_no_findings() -> None:
    assert checks(audit(good(12))) == {}


def test_a_turned_copy_in_another_split_is_an_error_and_both_are_shown() -> None:
    first, *others = good()
    copy = replace(first, name="copy", group="copy", image=np.ascontiguousarray(first.image[:, ::-1]),
                   instances=np.ascontiguousarray(first.instances[:, ::-1]))  # fmt: skip
    found = audit([first, *others, copy], ["train"] * 4 + ["test"])
    assert checks(found) == {"leak": Severity.ERROR}
    assert [e.name for e in found.findings[0].examples] == ["i0", "copy"]


def test_copies_without_a_split_are_a_warning_where_patients_differ() -> None:
    first = sample("i")
    assert checks(audit([first, replace(first, name="j", group="q")])) == {"copies": Severity.WARNING}
    assert checks(audit([first, replace(first, name="j")])) == {"copies": Severity.NOTE}


def test_a_patient_on_both_sides_of_a_split_is_an_error() -> None:
    found = audit([sample("i", group="p"), sample("j", 1, group="p")], ["train", "test"])
    assert checks(found) == {"split patients": Severity.ERROR}


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (lambda s: replace(s, mpp=1.0), "resolution"),
        (lambda s: replace(s, instances=np.roll(s.instances, 9, axis=1)), "shifted"),
        (lambda s: replace(s, image=np.full_like(s.image, 230)), "blank"),
    ],
)
def test_damage_to_all_images_is_an_error(damage: Any, check: str) -> None:
    assert checks(audit([damage(s) for s in good()]))[check] == Severity.ERROR


def test_shredded_instances_are_an_error() -> None:
    shredded = []
    for one in good():
        labels = one.instances.copy()
        labels[:, ::4] = 0
        shredded.append(replace(one, instances=labels))
    assert checks(audit(shredded))["in pieces"] == Severity.ERROR


def test_merged_instances_are_giant() -> None:
    merged = []
    for one in good():
        labels = one.instances.copy()
        labels[10:246, 10:246] = 36
        merged.append(replace(one, instances=labels))
    assert checks(audit(merged))["giant"] == Severity.WARNING


def test_a_nucleus_drawn_twice_with_two_classes_is_doubly_typed() -> None:
    one = sample("i")
    labels = one.instances.copy()
    y, x = map(int, np.argwhere(labels == 8).mean(0))
    cv2.circle(labels, (x, y), 4, 37, -1)
    assert one.types is not None
    other = np.append(one.types, 1).astype(np.uint8)
    same = np.append(one.types, one.types[8]).astype(np.uint8)
    assert checks(audit([replace(one, instances=labels, types=other)])) == {"doubly typed": Severity.WARNING}
    assert "inside another" in checks(audit([replace(one, instances=labels, types=same)]))


def test_one_blurred_and_one_differently_stained_image_stand_out() -> None:
    samples = good(12)
    samples[3] = replace(samples[3], image=cv2.GaussianBlur(samples[3].image, (0, 0), 6))
    stained = samples[5].image // np.array((1, 1, 2), np.uint8)
    samples[5] = replace(samples[5], image=stained)
    found = {finding.check: finding.images for finding in audit(samples).findings}
    assert found == {"blurred": ("i3",), "stain": ("i5",)}


def test_a_class_that_nothing_shows_is_named() -> None:
    found = audit(good(), classes=("a", "b", "c"))
    assert [f.what for f in found.findings] == ["Nothing in mine shows what c looks like."]
