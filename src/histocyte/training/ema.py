"""Exponential moving average of weights: steadier than the last step's, at no cost at inference."""

from __future__ import annotations

import copy
from collections.abc import Set
from typing import Any

import torch
from torch import nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Keeps θ' ← d·θ' + (1 - d)·θ, with d = min(decay, (1 + n) / (10 + n)) so that the first steps do not linger.

    Batch-norm statistics are averaged alike.

    Args:
        model: To average.
        decay: d.
        fixed: Names of tensors that training leaves as they are; they are shared with the model, so that a large frozen
            encoder is in memory once.
    """

    def __init__(self, model: nn.Module, decay: float, fixed: Set[str] = frozenset()) -> None:
        self.decay, self.updates, self.fixed = decay, 0, fixed
        shared: dict[int, Any] = {id(t): t for n, t in model.state_dict(keep_vars=True).items() if n in fixed}
        self.model = copy.deepcopy(model, shared).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        news = model.state_dict()
        for name, mine in self.model.state_dict().items():
            if name in self.fixed:
                continue
            new = news[name]
            if mine.dtype.is_floating_point:
                mine.lerp_(new.to(mine.dtype), 1 - decay)
            else:
                mine.copy_(new)
