"""Crops show nuclei at the model's resolution, however small the images are."""

from __future__ import annotations

import numpy as np
import pytest

from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.augment.steps import Augmentation
from histocyte.datasets.sample import Sample
from histocyte.recipes.plan import Crops
from histocyte.representations.hover.scheme import Hover
from histocyte.runs.train.defaults import crop_sampler, first_spec
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses
from histocyte.training.crops import CropSampler, held_px

PLAIN = Crops(augmentation="flips", zoom=(1.0, 1.0))


def sample(side: int, mpp: float = 0.25, *, name: str = "a") -> Sample:
    """One round nucleus of 64 px in the middle; the rest is purple."""
    y, x = np.mgrid[:side, :side] - side // 2
    instances = (y**2 + x**2 < 32**2).astype(np.int32)
    image = np.full((side, side, 3), (150, 80, 160), np.uint8)
    return Sample(name, image, instances, np.array([0, 1], np.uint8), mpp, "own", name)


def area_um2(sampler: CropSampler, *, crops: int = 4) -> list[float]:
    """Of the nucleus in some crops, where it is whole."""
    drawn = [sampler.crop(np.random.default_rng([5, n])) for n in range(crops)]
    return [float((crop.instances > 0).sum()) * sampler.mpp**2 for crop in drawn]


@pytest.mark.parametrize("mpp", [0.25, 0.35, 0.5, 1.0])
@pytest.mark.parametrize("crop_px", [None, 256])
def test_a_nucleus_keeps_its_size_at_any_resolution_of_the_model(mpp: float, crop_px: int | None) -> None:
    true = float((sample(256).instances > 0).sum()) * 0.25**2
    sampler = crop_sampler(first_spec("hover_unet", mpp=mpp), [sample(256)], seed=0, crops=PLAIN, crop_px=crop_px)
    assert area_um2(sampler) == pytest.approx([true] * 4, rel=0.06)


def test_zoom_goes_out_no_further_than_the_image_and_in_as_far_as_asked() -> None:
    true = float((sample(256).instances > 0).sum()) * 0.25**2
    for mpp, crop_px in ((0.25, 256), (0.5, 128), (0.5, 256)):
        sampler = crop_sampler(first_spec("hover_unet", mpp=mpp), [sample(256)], seed=0, crop_px=crop_px)
        sampler.augmentation = Augmentation([])
        factors = np.sqrt(np.array(area_um2(sampler, crops=40)) / true)
        assert 0.95 < factors.min() < 1.05
        assert 1.15 < factors.max() < 1.3
    large = crop_sampler(first_spec("hover_unet"), [sample(512)], seed=0, crop_px=64)
    assert min(large.zoom) == 0.8


def test_crops_are_as_wide_as_nine_in_ten_images_hold_in_steps_of_the_network() -> None:
    patches = [sample(256, name=f"p{n}") for n in range(30)]
    assert crop_sampler(first_spec("hover_unet", mpp=0.5), patches, seed=0).crop_px == 128
    assert crop_sampler(first_spec("hover_unet", mpp=0.3), patches, seed=0).crop_px == 208, "213 px in steps of 16"
    assert crop_sampler(first_spec("hover_unet", mpp=0.5), patches, seed=0, crop_px=256).crop_px == 256
    assert crop_sampler(first_spec("hover_unet"), [*patches, sample(80)], seed=0).crop_px == 256, "one is small"
    assert held_px([sample(100), sample(300)], 0.25) == 100


def test_a_small_image_is_filled_up_with_white_that_holds_no_nuclei() -> None:
    labels = packed_ellipses((140, 100), 12, seed=1)
    given = Sample("a", paint_truth(labels, CONSEP) // 2, labels.instances, labels.types, 0.25, "own", "a")
    sampler = CropSampler([given], Hover(classes=4), Augmentation([]), crop_px=128, mpp=0.25, zoom=(1.0, 1.0))
    places = set()
    for n in range(6):
        crop = sampler.crop(np.random.default_rng(n))
        white = (crop.image == 255).all(2)
        assert crop.image.shape == (128, 128, 3)
        assert white.sum() == 28 * 128, "28 rows of the 128 lie beyond the image"
        assert not crop.instances[white].any()
        top = int(np.flatnonzero(~white.all(1))[0])
        places.add(top)
        inside = crop.image[top : top + 100]
        assert any(np.array_equal(inside, given.image[:, x : x + 128]) for x in range(13)), "pixels as they are"
    assert len(places) > 1, "the image does not always lie in the same place"
