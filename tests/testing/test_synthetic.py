from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from histocyte.core.errors import ResolutionError
from histocyte.core.taxonomies import CONSEP
from histocyte.testing.synthetic import SyntheticSlide, paint_tissue


@pytest.fixture(scope="module")
def slide() -> SyntheticSlide:
    return paint_tissue((1300, 1100), seed=1)


def test_same_seed_same_picture_other_seed_another() -> None:
    a, b, c = (paint_tissue((300, 200), seed=s) for s in (4, 4, 5))
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.labels.instances, b.labels.instances)
    assert not np.array_equal(a.image, c.image)


def test_truth_numbers_every_nucleus_once_and_in_one_piece(slide: SyntheticSlide) -> None:
    instances, types = slide.labels.instances, slide.labels.types
    assert types is not None
    assert slide.image.shape == (1100, 1300, 3)
    assert instances.dtype == np.int32
    assert np.array_equal(np.unique(instances), np.arange(len(types)))
    for i, where in enumerate(ndimage.find_objects(instances), 1):
        assert ndimage.label(instances[where] == i)[1] == 1


def test_all_classes_are_there_and_some_nuclei_touch(slide: SyntheticSlide) -> None:
    instances, types = slide.labels.instances, slide.labels.types
    assert types is not None
    assert set(types[1:]) == set(range(1, len(CONSEP) + 1))
    left, right = instances[:, :-1], instances[:, 1:]
    assert ((left > 0) & (right > 0) & (left != right)).sum() > 50


def test_sizes_are_those_of_nuclei(slide: SyntheticSlide) -> None:
    types = slide.labels.types
    assert types is not None
    area_um2 = np.bincount(slide.labels.instances.ravel())[1:] * slide.mpp**2
    medians = [np.median(area_um2[types[1:] == t]) for t in (2, 3, 4)]
    assert 17 < medians[0] < 30
    assert 25 < medians[1] < 45
    assert 12 < medians[2] < 30


def test_nuclei_are_darker_than_their_surroundings_and_lymphocytes_darkest(slide: SyntheticSlide) -> None:
    red = slide.image[..., 0].astype(float)
    types = slide.labels.types
    assert types is not None
    per_pixel = types[slide.labels.instances]
    mean = [red[per_pixel == t].mean() for t in range(5)]
    assert mean[2] < mean[3] - 15
    assert max(mean[1:]) < mean[0] - 40


def test_glass_surrounds_the_tissue(slide: SyntheticSlide) -> None:
    grey = cv2.cvtColor(slide.image, cv2.COLOR_RGB2GRAY)
    frame = np.concatenate([grey[:8].ravel(), grey[-8:].ravel(), grey[:, :8].ravel(), grey[:, -8:].ravel()])
    assert np.percentile(frame, 2) > 225
    assert not slide.labels.instances[:4].any()
    assert 0.3 < (cv2.blur(grey, (25, 25)) < 220).mean() < 0.9


def test_structures_keep_their_size_in_micrometres() -> None:
    fine, coarse = paint_tissue((800, 800), mpp=0.25, seed=2), paint_tissue((400, 400), mpp=0.5, seed=2)
    counts = [s.labels.instances.max() for s in (fine, coarse)]
    assert counts[0] == pytest.approx(counts[1], rel=0.15)


def test_tiny_pictures_and_nonsense() -> None:
    assert paint_tissue((64, 70)).image.shape == (70, 64, 3)
    with pytest.raises(ValueError, match="64 px"):
        paint_tissue((20, 500))
    with pytest.raises(ResolutionError):
        paint_tissue((100, 100), mpp=40)
