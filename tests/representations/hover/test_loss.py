from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from histocyte.core.instances import Labels
from histocyte.representations.hover.scheme import Hover

torch.set_num_threads(1)
TRUTH = np.zeros((32, 32), np.int32)
TRUTH[4:14, 4:14], TRUTH[4:14, 14:24], TRUTH[20:28, 6:20] = 1, 2, 3


def targets(hover: Hover, types: tuple[int, ...]) -> dict[str, Tensor]:
    maps = hover.encode(Labels(TRUTH, np.array((0, *types), np.uint8)))
    return {name: torch.from_numpy(value)[None] for name, value in maps.items()}


def raw_of(target: dict[str, Tensor], hover: Hover) -> Tensor:
    """Raw channels that say exactly the target, with certainty."""
    certain = {spec.name: 1.0 if spec.activation == "linear" else 60.0 for spec in hover.maps}
    shift = {spec.name: 30.0 if spec.activation == "sigmoid" else 0.0 for spec in hover.maps}
    return torch.cat([target[s.name] * certain[s.name] - shift[s.name] for s in hover.maps], 1)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_truth_costs_nothing(channels: int) -> None:
    hover = Hover(classes=3, nucleus_channels=channels)
    target = targets(hover, (1, 2, 3))
    terms = hover.loss_terms(raw_of(target, hover), target, torch.ones(1))
    assert len(terms) == 8
    assert all(value.item() == pytest.approx(0, abs=1e-4) for value in terms.values()), terms


def test_two_nucleus_channels_say_the_same_as_their_difference() -> None:
    one, two = Hover(classes=3), Hover(classes=3, nucleus_channels=2)
    raw = torch.randn(1, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    single = torch.cat([raw[:, 1:2] - raw[:, :1], raw[:, 2:]], 1)
    ours = two.loss_terms(raw, targets(two, (1, 2, 3)), torch.ones(1))
    expected = one.loss_terms(single, targets(one, (1, 2, 3)), torch.ones(1))
    assert {k: v.item() for k, v in ours.items()} == pytest.approx({k: v.item() for k, v in expected.items()})


def test_images_with_nuclei_not_apart_train_no_distances() -> None:
    hover = Hover()
    raw = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    terms = hover.loss_terms(raw, targets(hover, ()), torch.zeros(1))
    assert terms["hover_mse"].item() == terms["hover_msge"].item() == 0
    assert terms["nucleus_bce"].item() > 0


def test_nuclei_of_unknown_class_train_no_classes() -> None:
    hover = Hover(classes=2)
    raw = torch.randn(1, 6, 32, 32, generator=torch.Generator().manual_seed(2), requires_grad=True)
    terms = hover.loss_terms(raw, targets(hover, (1, 0, 0)), torch.ones(1))
    (terms["types_ce"] + terms["types_dice"] + terms["types_focal_tversky"]).backward()
    assert raw.grad is not None
    learnt = raw.grad[0, 3:].abs().sum(0).numpy() > 0
    assert not learnt[TRUTH > 1].any()
    assert learnt[TRUTH == 1].all()
