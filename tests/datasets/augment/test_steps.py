"""Augmentation: geometry moves image and labels together, colour leaves labels alone, seeds reproduce."""

from __future__ import annotations

import numpy as np
import pytest

import histocyte.datasets.augment.cellvit as cellvit
import histocyte.datasets.augment.cisca as cisca
import histocyte.datasets.augment.steps as steps
from histocyte.testing.scenes import packed_ellipses

LABELS = packed_ellipses((128, 128), 25, seed=1).instances
# Nuclei dark on light, so that a label can be checked against the pixels under it.
IMAGE = np.where((LABELS > 0)[..., None], np.uint8(60), np.uint8(220)).repeat(3, axis=2)

GEOMETRY = [steps.dihedral, cellvit.quarter_turn, cellvit.sized_crop, cellvit.elastic]
GEOMETRY += [cisca.elastic_grid]
COLOUR = [
    steps.stain_jitter,
    steps.brightness_contrast,
    steps.blur,
    steps.noise,
    cellvit.gauss_noise,
    steps.downscale,
    cellvit.halve,
    cellvit.box_blur,
    cellvit.colour_jitter,
    cellvit.superpixels,
    cellvit.zoom_blur,
    cisca.lab_stain,
]


@pytest.mark.parametrize("transform", GEOMETRY, ids=lambda t: t.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_labels_move_with_the_pixels(transform, seed: int) -> None:  # type: ignore[no-untyped-def]
    image, labels = transform(IMAGE, LABELS, np.random.default_rng(seed))
    assert image.shape == IMAGE.shape
    assert labels.dtype == np.int32
    assert set(np.unique(labels)) <= set(np.unique(LABELS))
    assert ((image[..., 0] < 140) == (labels > 0)).mean() > 0.97


@pytest.mark.parametrize("transform", COLOUR, ids=lambda t: t.__name__)
def test_colour_leaves_labels_alone_and_changes_pixels(transform) -> None:  # type: ignore[no-untyped-def]
    image, labels = transform(IMAGE, LABELS, np.random.default_rng(0))
    assert labels is LABELS
    assert image.dtype == np.uint8
    assert (image != IMAGE).any()
    assert ((image[..., 0] < 140) == (labels > 0)).mean() > 0.8


def test_the_seed_decides() -> None:
    everything = cellvit.cellvit_augmentation()
    first, again, other = (everything(IMAGE, LABELS, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


class Scripted:
    """A generator whose uniform draws are given."""

    def __init__(self, *values):  # type: ignore[no-untyped-def]
        self.values = list(values)

    def uniform(self, low, high):  # type: ignore[no-untyped-def]
        value = self.values.pop(0)
        assert low <= value <= high
        return value


def test_cellvits_noise_has_a_variance_that_is_uniform_up_to_50() -> None:
    grey, nothing = np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64), np.int32)
    noisy = [cellvit.gauss_noise(grey, nothing, np.random.default_rng(i))[0] for i in range(300)]
    variance = np.array([n.astype(float).var() for n in noisy])
    # The quarters of a uniform variance; a uniform deviation would have a quarter below 3 and its middle at 12.5.
    np.testing.assert_allclose(np.quantile(variance, [0.25, 0.5, 0.75]), [12.5, 25, 37.5], atol=4)


def test_cellvits_zoom_blur_averages_the_image_with_copies_from_its_own_size_on() -> None:
    image, nothing = np.zeros((101, 101, 3), np.uint8), np.zeros((101, 101), np.int32)
    image[50, 90] = 240
    same, _ = cellvit.zoom_blur(image, nothing, Scripted(1.02, 0.03))  # type: ignore[arg-type]
    np.testing.assert_array_equal(same, image)  # the only copy is as large as the image
    blurred, _ = cellvit.zoom_blur(image, nothing, Scripted(1.045, 0.025))  # type: ignore[arg-type]
    # The image, a copy of its size and one enlarged by 1.025, whose point lies 41 px from the centre and not 40.
    assert int(blurred[50, 90, 0]) == pytest.approx(160, abs=4)
    assert int(blurred[50, 91, 0]) == pytest.approx(80, abs=3)


def test_cellvits_elastic_jolt_moves_three_corners_a_third_of_the_side_from_the_centre() -> None:
    height, width = 256, 320
    corners = np.array([160, 128]) + 85 * np.array([[1, 1], [1, -1], [-1, -1]])
    labels = np.zeros((height, width), np.int32)
    for i, (x, y) in enumerate(corners, 1):
        labels[y - 4 : y + 5, x - 4 : x + 5] = i
    image = np.repeat(labels[..., None], 3, axis=2).astype(np.uint8)
    for seed in range(5):
        jolt = np.random.default_rng(seed).uniform(-15, 15, (3, 2))
        moved = cellvit.elastic(image, labels, np.random.default_rng(seed))[1]
        found = [np.argwhere(moved == i).mean(axis=0)[::-1] for i in (1, 2, 3)]
        np.testing.assert_allclose(found, corners + jolt, atol=1)


def test_ciscas_augmentation_is_decided_by_the_seed_and_moves_labels_along() -> None:
    everything = cisca.cisca_augmentation()
    for seed in range(6):
        first, again = (everything(IMAGE, LABELS, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first[0], again[0])
        dark, inside = first[0].mean(-1) < first[0].mean(), first[1] > 0
        assert (dark == inside).mean() > 0.9


def test_stains_of_white_and_black_stay_in_range() -> None:
    for level in (0, 255):
        flat = np.full((8, 8, 3), level, np.uint8)
        image, _ = steps.stain_jitter(flat, LABELS[:8, :8], np.random.default_rng(1))
        assert abs(int(image.mean()) - level) < 60
