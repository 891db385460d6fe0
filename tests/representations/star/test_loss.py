from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from histocyte.core.instances import Labels
from histocyte.representations.star.scheme import Star

torch.set_num_threads(1)
TRUTH = np.zeros((32, 32), np.int32)
TRUTH[4:14, 4:14], TRUTH[4:14, 14:24], TRUTH[20:28, 6:20] = 1, 2, 3


def targets(star: Star, types: tuple[int, ...]) -> dict[str, Tensor]:
    maps = star.encode(Labels(TRUTH, np.array((0, *types), np.uint8)))
    return {name: torch.from_numpy(value)[None] for name, value in maps.items()}


def random_raw(star: Star, seed: int) -> Tensor:
    channels = sum(spec.channels for spec in star.maps)
    return torch.randn(1, channels, 32, 32, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def learnt(raw: Tensor, channels: slice) -> np.ndarray:
    """(32, 32) where the loss has a gradient in any of the channels."""
    assert raw.grad is not None
    return raw.grad[0, channels].abs().sum(0).numpy() > 0


def test_the_truth_costs_nothing_but_the_depths_own_entropy() -> None:
    star = Star(classes=3, refined=True)
    target = targets(star, (1, 2, 3))
    depth = target["nucleus"]
    raw = torch.cat([torch.logit(depth, 1e-6), target["rays"], target["types"] * 60, target["rays"]], 1)
    terms = star.loss_terms(raw, target, torch.ones(1))
    assert set(terms) == set(star.loss_weights)
    entropy = torch.special.xlogy(depth, depth) + torch.special.xlogy(1 - depth, 1 - depth)
    assert terms.pop("nucleus_bce").item() == pytest.approx(-entropy.mean().item(), abs=1e-4)
    assert all(value.item() == pytest.approx(0, abs=1e-4) for value in terms.values()), terms


def test_ray_errors_are_weighed_by_depth() -> None:
    # As CellViT's StarDist models have it: mean over pixels of the depth times the rays' mean error.
    star = Star(refined=True)
    target = targets(star, ())
    raw = torch.cat([torch.zeros(1, 1, 32, 32), target["rays"] + 2, target["rays"] - 3], 1)
    terms = star.loss_terms(raw, target, torch.ones(1))
    depth = target["nucleus"].mean().item()
    assert terms["rays_l1"].item() == pytest.approx(2 * depth)
    assert terms["rays_initial_l1"].item() == pytest.approx(3 * depth)


def test_rays_below_zero_learn() -> None:
    star = Star()
    raw = torch.full((1, 33, 32, 32), -1.0, requires_grad=True)
    star.loss_terms(raw, targets(star, ()), torch.ones(1))["rays_l1"].backward()
    assert np.array_equal(learnt(raw, slice(1, 33)), TRUTH > 0)


def test_images_with_nuclei_not_apart_teach_where_none_is_and_classes() -> None:
    star = Star(classes=2, refined=True)
    raw = random_raw(star, 1)
    terms = star.loss_terms(raw, targets(star, (1, 2, 1)), torch.zeros(1))
    assert terms["rays_l1"].item() == terms["rays_initial_l1"].item() == 0
    torch.stack(list(terms.values())).sum().backward()
    assert np.array_equal(learnt(raw, slice(0, 1)), TRUTH == 0)
    assert learnt(raw, slice(33, 36)).all()


def test_one_image_not_apart_leaves_the_others_error_as_it_is() -> None:
    star = Star()
    raw, target = random_raw(star, 2), targets(star, ())
    alone = star.loss_terms(raw, target, torch.ones(1))["rays_l1"]
    twice = {name: value.repeat(2, 1, 1, 1) for name, value in target.items()}
    both = star.loss_terms(raw.repeat(2, 1, 1, 1), twice, torch.tensor([1.0, 0.0]))["rays_l1"]
    assert both.item() == pytest.approx(alone.item())


def test_nuclei_of_unknown_class_train_no_classes() -> None:
    star = Star(classes=2)
    raw = random_raw(star, 3)
    terms = star.loss_terms(raw, targets(star, (1, 0, 0)), torch.ones(1))
    (terms["types_ce"] + terms["types_dice"] + terms["types_focal_tversky"]).backward()
    where = learnt(raw, slice(33, 36))
    assert not where[TRUTH > 1].any()
    assert where[TRUTH == 1].all()
