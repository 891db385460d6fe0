from __future__ import annotations

import pytest
import torch
from torch import Tensor

from histocyte.losses.gradient import gradient_error
from histocyte.losses.pixel import binary_cross_entropy, cross_entropy, mean_squared_error
from histocyte.losses.region import dice, focal_tversky, multiclass_focal_tversky

torch.set_num_threads(1)


@pytest.fixture
def onehot() -> Tensor:
    classes = torch.randint(0, 3, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float()


def test_a_perfect_prediction_costs_nothing(onehot: Tensor) -> None:
    for loss in (cross_entropy, mean_squared_error, dice, focal_tversky, multiclass_focal_tversky):
        assert loss(onehot, onehot).item() == pytest.approx(0, abs=1e-5), loss.__name__
    assert binary_cross_entropy(onehot[:, :1] * 200 - 100, onehot[:, :1]).item() == pytest.approx(0, abs=1e-5)
    assert gradient_error(onehot[:, :2], onehot[:, :2], onehot[:, :1]).item() == 0


@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error, dice])
def test_what_is_masked_out_does_not_count(onehot: Tensor, loss: object) -> None:
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., :8] = 1
    wrong = onehot.clone()
    wrong[..., 8:] = onehot.flip(1)[..., 8:]
    assert loss(wrong, onehot, mask).item() == pytest.approx(0, abs=1e-5)  # type: ignore[operator]
    assert loss(wrong, onehot).item() > 0.1  # type: ignore[operator]
    assert loss(wrong, onehot, 0 * mask).item() == 0  # type: ignore[operator]


def test_gradient_error_looks_along_x_in_the_x_map() -> None:
    flat = torch.zeros(1, 2, 32, 32)
    waves = torch.arange(32.0).view(1, 1, 1, 32).sin()  # changes along x only
    inside = torch.zeros(1, 1, 32, 32)
    inside[..., 8:24, 8:24] = 1  # away from the borders
    in_x = torch.cat([waves.expand(1, 1, 32, 32), flat[:, 1:]], 1)
    assert gradient_error(in_x, flat, inside).item() > 0.1
    assert gradient_error(in_x, flat, inside, transposed=True).item() == pytest.approx(0, abs=1e-9)
    assert gradient_error(in_x, flat, 0 * inside).item() == 0


def test_focal_tversky_punishes_missed_nuclei_more_than_surplus_ones() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4] = 1
    missed, surplus = target.clone(), target.clone()
    missed[..., 2:4] = 0
    surplus[..., 4:6] = 1
    assert focal_tversky(missed, target) > focal_tversky(surplus, target)


def test_losses_can_be_learnt_from(onehot: Tensor) -> None:
    logits = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    probabilities = logits.softmax(1)
    total = cross_entropy(probabilities, onehot) + dice(probabilities, onehot)
    total = total + multiclass_focal_tversky(probabilities, onehot) + focal_tversky(probabilities, onehot)
    total = total + gradient_error(logits[:, :2], onehot[:, :2], onehot[:, :1])
    total.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().max() > 0
