"""Weights that are no numbers, wherever they come from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from histocyte.conversion.cellvit_names import check_exactly
from histocyte.core.errors import ModelError
from histocyte.encoders.weights.finite import check_finite
from histocyte.encoders.weights.load import encoder_weights


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_none_is_found(kind: torch.dtype, value: float) -> None:
    weights = {"good": torch.ones(3, dtype=kind), "none": torch.ones(0, dtype=kind), "count": torch.tensor(3)}
    check_finite(weights, where="m")
    bad = torch.ones(50, dtype=kind)
    bad[17] = value
    with pytest.raises(ModelError, match=r"'m' holds weights that are no numbers .*in bad: "):
        check_finite({**weights, "bad": bad}, where="m")


def test_weights_without_memory_pass() -> None:
    check_finite({"w": torch.empty(3, device="meta")}, where="m")


def test_others_weights_are_looked_at_too() -> None:
    state: dict[str, Tensor] = {"weight": torch.ones(2, 2), "bias": torch.tensor([0.0, float("nan")])}
    with pytest.raises(ModelError, match="no numbers"):
        check_exactly({k: v.to("meta") for k, v in state.items()}, state, where="theirs.pth")


def test_an_encoders_weights_are_looked_at_but_not_what_it_leaves() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 2))
            self.unused = ()

    state = {"0.weight": torch.ones(2, 2), "0.bias": torch.zeros(2), "head.weight": torch.tensor([float("nan")])}
    assert sorted(encoder_weights(Encoder(), state, where="w")) == ["0.bias", "0.weight"]
    state["0.bias"][1] = float("nan")
    with pytest.raises(ModelError, match=r"'w' holds .* in 0\.bias"):
        encoder_weights(Encoder(), state, where="w")
