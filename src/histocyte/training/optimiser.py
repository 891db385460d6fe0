"""Optimisers: groups of weights, each with its own learning rate, and clipping."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from histocyte.core.errors import UnknownNameError
from histocyte.model.adapters import DOWN, UP
from histocyte.training.options import TrainingOptions

__all__ = ["clip_gradients", "is_pretrained", "make_optimiser"]


def make_optimiser(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """The optimiser of a run; each group has its peak rate as "base_lr".

    Raises:
        UnknownNameError: No such optimiser.
    """
    groups = []
    for encoder in (True, False):
        lr = options.learning_rate * (options.encoder_factor if encoder else 1.0)
        for wide in (True, False):
            chosen = [
                p
                for n, p in model.named_parameters()
                if p.requires_grad and is_pretrained(n) == encoder and (p.ndim > 1) == wide
            ]
            # Biases and norms are not pulled to zero: it would only shift what the next layer sees.
            decay = options.weight_decay if wide or options.decay_all else 0.0
            groups.append({"params": chosen, "lr": lr, "base_lr": lr, "weight_decay": decay})
    adam: dict[str, Any] = {"betas": tuple(options.betas), "eps": options.epsilon, "amsgrad": options.amsgrad}
    if options.optimiser == "adamw":
        return torch.optim.AdamW(groups, **adam)
    if options.optimiser == "adam":
        return torch.optim.Adam(groups, **adam)
    if options.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=options.betas[0])
    raise UnknownNameError("optimiser", options.optimiser, ("adamw", "adam", "sgd"))


def is_pretrained(name: str) -> bool:
    """Whether a weight is the encoder's own; adapters start from nothing, as a decoder does, and learn at its rate."""
    return name.startswith("encoder.") and name.rpartition(".")[2] not in {DOWN, UP}


def clip_gradients(model: nn.Module, most: float, *, each: bool = False) -> Tensor:
    """Scale gradients down to a norm of `most` (0: leave them), all together or each tensor's by itself.

    Returns:
        Norm of all before.
    """
    parameters = [p for p in model.parameters() if p.grad is not None]
    if most and not each:
        return nn.utils.clip_grad_norm_(parameters, most)
    norms = [torch.linalg.vector_norm(p.grad) for p in parameters if p.grad is not None]
    if most:
        for p, norm in zip(parameters, norms, strict=True):
            assert p.grad is not None
            p.grad.mul_((most / norm.clamp(min=1e-12)).clamp(max=1.0))
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
