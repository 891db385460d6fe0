"""Augmentation: geometry moves image and labels together, colour leaves labels alone, seeds reproduce."""

from __future__ import annotations

import numpy as np
import pytest

from histocyte.datasets import augment, augment_cellvit, augment_cisca
from histocyte.testing.scenes import packed_ellipses

LABELS = packed_ellipses((128, 128), 25, seed=1).instances
# Nuclei dark on light, so that a label can be checked against the pixels under it.
IMAGE = np.where((LABELS > 0)[..., None], np.uint8(60), np.uint8(220)).repeat(3, axis=2)

GEOMETRY = [augment.dihedral, augment_cellvit.quarter_turn, augment_cellvit.sized_crop, augment_cellvit.elastic]
GEOMETRY += [augment_cisca.elastic_grid]
COLOUR = [
    augment.stain_jitter,
    augment.brightness_contrast,
    augment.blur,
    augment.noise,
    augment.downscale,
    augment_cellvit.halve,
    augment_cellvit.box_blur,
    augment_cellvit.colour_jitter,
    augment_cellvit.superpixels,
    augment_cellvit.zoom_blur,
    augment_cisca.lab_stain,
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
    everything = augment_cellvit.cellvit_augmentation()
    first, again, other = (everything(IMAGE, LABELS, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_ciscas_augmentation_is_decided_by_the_seed_and_moves_labels_along() -> None:
    everything = augment_cisca.cisca_augmentation()
    for seed in range(6):
        first, again = (everything(IMAGE, LABELS, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first[0], again[0])
        dark, inside = first[0].mean(-1) < first[0].mean(), first[1] > 0
        assert (dark == inside).mean() > 0.9


def test_stains_of_white_and_black_stay_in_range() -> None:
    for level in (0, 255):
        flat = np.full((8, 8, 3), level, np.uint8)
        image, _ = augment.stain_jitter(flat, LABELS[:8, :8], np.random.default_rng(1))
        assert abs(int(image.mean()) - level) < 60
