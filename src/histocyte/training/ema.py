"""Exponential moving average of weights: steadier than the last step's, at no cost at inference."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Keeps θ' ← d·θ' + (1 - d)·θ, with d = min(decay, (1 + n) / (10 + n)) so that the first steps do not linger.

    Batch-norm statistics are averaged alike.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(new.to(mine.dtype), 1 - decay)
            else:
                mine.copy_(new)
