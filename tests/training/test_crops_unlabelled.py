"""Crops of images of which not all is labelled."""

from __future__ import annotations

import numpy as np

from histocyte.datasets.augment.steps import Augmentation, dihedral
from histocyte.datasets.sample import Sample
from histocyte.representations.hover.scheme import Hover
from histocyte.training.crops import CropSampler


def sample(ignored: np.ndarray | None, one_of: np.ndarray | None = None) -> Sample:
    labels = np.zeros((96, 96), np.int32)
    labels[20:40, 20:40], labels[50:70, 50:70] = 1, 2
    image = np.repeat((labels > 0).astype(np.uint8)[..., None] * 90 + 60, 3, axis=2)
    if ignored is not None:
        image[ignored] = 255
    types = np.array([0, 1, 2], np.uint8)
    return Sample("a", image, labels, types, 0.25, "set", "g", one_of=one_of, ignored=ignored)


def test_what_nobody_labelled_turns_and_zooms_with_the_image() -> None:
    ignored = np.zeros((96, 96), bool)
    ignored[10:30, 60:90] = True
    sampler = CropSampler([sample(ignored)], Hover(2), Augmentation([(1.0, dihedral)]), crop_px=64)
    batch = sampler.batch(0, 8)
    assert batch.taught is not None
    white = batch.images.min(axis=1) > 200
    assert white.any()
    assert (white == ~batch.taught).mean() > 0.99  # but for pixels that enlarging blends
    assert not batch.maps["nucleus"][:, 0][~batch.taught].any()


def test_images_that_are_labelled_all_over_say_so() -> None:
    assert CropSampler([sample(None)], Hover(2), Augmentation([]), crop_px=64).batch(0, 2).taught is None


def test_labels_that_leave_the_class_open_reach_the_map_of_classes() -> None:
    one_of = np.array([[0, 0], [1, 1], [0, 1]], bool)
    batch = CropSampler([sample(None, one_of)], Hover(2), Augmentation([]), crop_px=96, zoom=(1, 1)).batch(0, 1)
    types = batch.maps["types"][0]
    assert types[:, 30, 30].tolist() == [0, 1, 1]
    assert types[:, 60, 60].tolist() == [0, 0, 1]
    assert types[:, 5, 5].tolist() == [1, 0, 0]
