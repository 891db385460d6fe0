"""What flow maps cost when they are wrong, and what an image without all the truth teaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from histocyte.core.instances import Labels
from histocyte.representations.flow.scheme import Flow

torch.set_num_threads(1)
TRUTH = np.zeros((32, 32), np.int32)
TRUTH[4:14, 4:14], TRUTH[4:14, 14:24], TRUTH[20:28, 6:20] = 1, 2, 3
EITHER = [Flow(3), Flow(3, "types", 1.0, losses="lightweight")]


def targets(flow: Flow, types: tuple[int, ...] = ()) -> dict[str, Tensor]:
    maps = flow.encode(Labels(TRUTH, np.array((0, *types), np.uint8) if types else None))
    return {name: torch.from_numpy(value)[None] for name, value in maps.items()}


def raw_of(target: dict[str, Tensor], flow: Flow) -> Tensor:
    """Raw channels that say exactly the target, with certainty."""
    certain = {spec.name: 1.0 if spec.activation == "linear" else 60.0 for spec in flow.maps}
    shift = {spec.name: 30.0 if spec.activation == "sigmoid" else 0.0 for spec in flow.maps}
    return torch.cat([target[s.name] * certain[s.name] - shift[s.name] for s in flow.maps], 1)


def guess(flow: Flow, seed: int) -> Tensor:
    channels = sum(spec.channels for spec in flow.maps)
    return torch.randn(1, channels, 32, 32, generator=torch.Generator().manual_seed(seed), requires_grad=True)


@pytest.mark.parametrize("flow", EITHER, ids=("nucleus", "types"))
def test_the_truth_costs_nothing(flow: Flow) -> None:
    target = targets(flow, (1, 2, 3))
    terms = flow.loss_terms(raw_of(target, flow), target, torch.ones(1))
    smoothed = terms.pop("types_ce_svls_sd")  # certainty is what it is against
    assert smoothed.item() > 0.5
    assert set(flow.loss_weights) - {"types_ce_svls_sd"} <= set(terms)
    assert all(value.item() == pytest.approx(0, abs=1e-4) for value in terms.values()), terms


def test_flow_error_is_half_the_mean_square_as_in_cellpose() -> None:
    flow = Flow()
    target = targets(flow)
    raw = raw_of(target, flow)
    raw[:, 1:] += 2.0
    assert flow.loss_terms(raw, target, torch.ones(1))["flow_mse"].item() == pytest.approx(2.0)


def test_images_with_nuclei_not_apart_train_no_flows() -> None:
    flow = Flow()
    raw = guess(flow, 1)
    terms = flow.loss_terms(raw, targets(flow), torch.zeros(1))
    assert terms["flow_mse"].item() == 0
    assert terms["nucleus_bce"].item() > 0


@pytest.mark.parametrize("flow", EITHER, ids=("nucleus", "types"))
def test_nuclei_of_unknown_class_train_no_classes(flow: Flow) -> None:
    raw = guess(flow, 2)
    terms = flow.loss_terms(raw, targets(flow, (1, 0, 0)), torch.ones(1))
    torch.stack([value for name, value in terms.items() if name.startswith("types")]).sum().backward()
    assert raw.grad is not None
    learnt = raw.grad[0, 3 if flow.foreground == "nucleus" else 2 :].abs().sum(0).numpy() > 0
    assert not learnt[TRUTH > 1].any()
    assert learnt[TRUTH == 1].all()


def test_without_any_class_the_types_map_still_learns_where_nuclei_are() -> None:
    flow = EITHER[1]
    raw = guess(flow, 3)
    terms = flow.loss_terms(raw, targets(flow), torch.ones(1))
    assert sum(value.item() for name, value in terms.items() if name.startswith("types")) == 0
    terms["nucleus_bce"].backward()
    assert raw.grad is not None
    gradient = raw.grad[0, 2:].numpy()
    assert (gradient[0][TRUTH > 0] > 0).all()
    assert (gradient[0][TRUTH == 0] < 0).all()
    chances = raw.detach()[0, 2:].softmax(0).numpy()
    shares = gradient[1:] / gradient[1:].sum(0)
    assert np.allclose(shares, chances[1:] / chances[1:].sum(0), atol=1e-4)  # between classes nothing is said


def test_class_weights_weigh_the_focal_loss_alone() -> None:
    plain, weighted = Flow(3), Flow(3, class_weights=(2.0, 2.0, 2.0, 2.0))
    raw, target = guess(plain, 4), targets(plain, (1, 2, 3))
    ours, theirs = (f.loss_terms(raw, target, torch.ones(1)) for f in (weighted, plain))
    assert ours["types_focal"].item() == pytest.approx(2 * theirs["types_focal"].item())
    assert all(ours[name].item() == theirs[name].item() for name in ours if name != "types_focal")
