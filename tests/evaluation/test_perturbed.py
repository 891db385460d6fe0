"""Changes to images are what they say, the same each time, and their scores are set beside those of the images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from histocyte.evaluation.perturbed import (
    PERTURBATIONS,
    PERTURBED_COLUMNS,
    PerturbedScores,
    perturbed_table,
)
from histocyte.statistics.bootstrap import Estimate
from histocyte.testing.synthetic import paint_tissue

BY_NAME = {each.name: each for each in PERTURBATIONS}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return paint_tissue((128, 96), seed=1).image


@pytest.mark.parametrize("name", BY_NAME)
def test_a_change_keeps_the_shape_and_is_the_same_each_time(name: str, image: np.ndarray) -> None:
    before, change = image.copy(), BY_NAME[name]
    changed = change.change(image, 0.25)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(image, before)
    assert np.array_equal(changed, change.change(image, 0.25))
    assert np.array_equal(changed, image) == (change.kind == "mpp")
    assert (change.mpp_factor != 1) == (change.kind == "mpp")


def test_more_of_a_stain_is_darker_and_glass_stays_white(image: np.ndarray) -> None:
    glass = np.full((8, 8, 3), 255, np.uint8)
    for stain in ("haematoxylin", "eosin"):
        less, more = (BY_NAME[f"{stain} × {factor}"].change for factor in ("0.7", "1.4"))
        assert less(image, 0.25).mean() > image.mean() > more(image, 0.25).mean()
        assert np.array_equal(more(glass, 0.25), glass)


def test_blur_is_in_micrometres_and_stronger_compression_is_further_off(image: np.ndarray) -> None:
    def off(name: str, mpp: float = 0.25) -> float:
        return float(np.abs(BY_NAME[name].change(image, mpp).astype(int) - image).mean())

    assert off("blur 0.25 µm") < off("blur 0.5 µm") < off("blur 1 µm")
    assert off("blur 0.5 µm", 0.5) < off("blur 0.5 µm", 0.25)
    assert off("JPEG 90") < off("JPEG 70") < off("JPEG 50") < off("JPEG 30")


def test_the_table_sets_each_change_beside_the_images_as_they_are() -> None:
    def of(kind: str, name: str, bpq: float) -> PerturbedScores:
        return PerturbedScores("mine", kind, name, {"bpq": Estimate(bpq, math.nan, math.nan, 3)})  # type: ignore[arg-type]

    rows = perturbed_table([of("none", "they are", 0.6), of("jpeg", "JPEG 30", 0.55)])
    assert [len(row) for row in rows] == [len(PERTURBED_COLUMNS)] * 2
    assert rows[0][:5] == ("mine", "they are", "0.600", "–", "")
    assert rows[1][2] == "0.550"
    assert rows[1][4].endswith("0.050")
    assert rows[1][4][0] in "-−"
    assert rows[1][5:] == ("–", "", "–", "")
