"""Focal loss, spectral decoupling, smoothing in space: by hand, and against published code (shared/oracles/losses)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from histocyte.losses.classes import class_weights, focal, smooth_in_space, smoothed_cross_entropy

torch.set_num_threads(1)
ORACLES = Path(__file__).parents[2].parent / "shared" / "oracles" / "losses"


@pytest.mark.skipif(not ORACLES.is_dir(), reason="the published values are not here")
@pytest.mark.parametrize(
    ("name", "in_space", "decoupling"),
    [("csm_ce", False, 0.0), ("csm_ce_svls", True, 0.0), ("csm_ce_sd", False, 0.01), ("csm_ce_svls_sd", True, 0.01)],
)
def test_as_the_published_library_computes_it(name: str, in_space: bool, decoupling: float) -> None:
    """Values of cellseg_models.pytorch with its default arguments."""
    expected = json.loads((ORACLES / "expected.json").read_text())
    with np.load(ORACLES / "inputs.npz") as stored:
        logits = torch.from_numpy(stored["nt_logits"])
        target = F.one_hot(torch.from_numpy(stored["type_map"]).long(), 6).permute(0, 3, 1, 2).float()
    value = smoothed_cross_entropy(logits, target, in_space=in_space, decoupling=decoupling).item()
    assert value == pytest.approx(expected[name], rel=1e-5)
    # It adds a small number to the probabilities, we do not.
    assert focal(logits, target).item() == pytest.approx(expected["csm_focal"], rel=1e-5)


def test_focal_by_hand() -> None:
    logits = torch.log(torch.tensor([0.8, 0.2])).view(1, 2, 1, 1)
    first, second = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    assert focal(logits, first).item() == pytest.approx(-0.5 * 0.2**2 * math.log(0.8))
    assert focal(logits, second).item() == pytest.approx(-0.5 * 0.8**2 * math.log(0.2))
    weighted = focal(logits, second, weights=(1.0, 3.0)).item()
    assert weighted == pytest.approx(3 * focal(logits, second).item())


def test_masked_pixels_do_not_count() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 6, 6, generator=rng)
    target = F.one_hot(torch.randint(3, (1, 6, 6), generator=rng), 3).permute(0, 3, 1, 2).float()
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., :3] = 1
    loud = logits.clone()
    loud[..., 3:] *= 50
    assert focal(loud, target, mask).item() == pytest.approx(focal(logits[..., :3], target[..., :3]).item())
    ours, quiet = (smoothed_cross_entropy(z, target, mask).item() for z in (loud, logits))
    assert ours == pytest.approx(quiet)
    assert focal(logits, target, torch.zeros_like(mask)).item() == 0


def test_smoothing_leaves_one_class_and_blurs_where_two_meet() -> None:
    target = torch.zeros(1, 2, 9, 9)
    target[:, 0, :, :5], target[:, 1, :, 5:] = 1, 1
    smooth = smooth_in_space(target)
    assert torch.allclose(smooth.sum(1), torch.ones(1, 9, 9))
    assert torch.allclose(smooth[0, 0, :, :3], torch.ones(9, 3))
    assert 0.5 < smooth[0, 0, 4, 4] < 0.9
    lone = torch.zeros(1, 1, 9, 9)
    lone[0, 0, 4, 4] = 1
    assert smooth_in_space(lone)[0, 0, 4, 4] == pytest.approx(0.5)


def test_losses_of_certain_logits_stay_finite() -> None:
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    target = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    for loss in (focal(logits, target), smoothed_cross_entropy(logits, target)):
        assert torch.isfinite(loss)
        assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()


def test_rare_classes_weigh_more_but_not_without_end() -> None:
    background, *weights = class_weights([10_000, 100, 1, 0])
    assert background == 1
    assert weights == sorted(weights)
    assert weights[-1] == 10
    assert max(class_weights([10**9, 1, 1, 1, 1], largest=1.1)) <= 1.1
    assert class_weights([]) == (1.0,)
