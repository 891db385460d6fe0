"""Fitting the small head that reads classes off the vectors of cells (applied by `model.classifier`).

Optimiser and head are those of CellViT++ (Hörst et al. 2026, doi 10.1016/j.cmpb.2025.109206): AdamW, at most 50
epochs of batches of 256, a linear map or one hidden layer with ReLU and dropout, the epoch kept that does best on
cells not fitted. One thing is added, for few cells: an epoch has `HeadOptions.least_batches` batches or more.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FittedHead", "HeadOptions", "fit_head", "network_of"]

_CONSTANT = 1e-6
"""A feature that varies less than this share of the widest carries nothing, and is not blown up to unit variance."""


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How a head is fitted.

    Attributes:
        hidden: Width of the hidden layer; 0 for a linear head.
        epochs: At most.
        patience: Epochs without a better one before it ends.
        batch: Cells in a batch.
        least_batches: Fewest batches of an epoch; few cells are seen several times. With 300 cells it would have two,
            and 50 such epochs end before weights have moved far from the random ones they began with.
        learning_rate: Learning rate of AdamW.
        betas: Betas of AdamW.
        weight_decay: Weight decay of AdamW.
        dropout: Behind the hidden layer.
        seed: Seed of first weights, order and dropout.
    """

    hidden: int = 0
    epochs: int = 50
    patience: int = 20
    batch: int = 256
    least_batches: int = 16
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.85, 0.9)
    weight_decay: float = 5e-4
    dropout: float = 0.1
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """The fields, for the record."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A fitted head as plain arrays.

    Attributes:
        mean: (D,) of the fitted vectors.
        std: (D,) of them; 1 where a feature is constant.
        layers: Weights (out, in) and biases (out,), ReLU between.
        epochs: That were done.
        best_epoch: The one kept, from 1.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    epochs: int
    best_epoch: int


def network_of(width: int, classes: int, hidden: int, dropout: float) -> nn.Sequential:
    """The head behind the standardisation: D numbers to K."""
    if not hidden:
        return nn.Sequential(nn.Linear(width, classes))
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes))


def fit_head(
    vectors: NDArray[np.float32],
    types: NDArray[np.integer],
    stop_vectors: NDArray[np.float32],
    stop_types: NDArray[np.integer],
    *,
    classes: int,
    options: HeadOptions | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> FittedHead:
    """Fit a head; the same input gives the same numbers.

    Args:
        vectors: (N, D) of the cells fitted.
        types: (N,) their classes from 0.
        stop_vectors: (M, D) of cells, best of other patients, whose loss says which epoch is kept; with M = 0 all
            epochs are done and the last is kept.
        stop_types: (M,) their classes.
        classes: K.
        options: How.
        on_epoch: Called after each epoch with its number.
    """
    options = options or HeadOptions()
    mean, std = _spread(vectors)
    x, y = _tensors(vectors, types, mean, std)
    stop_x, stop_y = _tensors(stop_vectors, stop_types, mean, std)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = network_of(x.shape[1], classes, options.hidden, options.dropout)
        optimiser = torch.optim.AdamW(
            network.parameters(), options.learning_rate, options.betas, weight_decay=options.weight_decay
        )
        best, best_loss, best_epoch, epoch = deepcopy(network.state_dict()), float("inf"), 0, 0
        for epoch in range(1, options.epochs + 1):
            _one_epoch(network, optimiser, x, y, options)
            loss = _loss(network, stop_x, stop_y) if len(stop_x) else -float(epoch)
            if loss < best_loss:
                best, best_loss, best_epoch = deepcopy(network.state_dict()), loss, epoch
            if on_epoch is not None:
                on_epoch(epoch)
            if epoch - best_epoch >= options.patience:
                break
    network.load_state_dict(best)
    linear = [part for part in network if isinstance(part, nn.Linear)]
    layers = tuple((_numpy(part.weight), _numpy(part.bias)) for part in linear)
    return FittedHead(mean, std, layers, epoch, best_epoch)


def _spread(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean, std = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    std[std <= _CONSTANT * std.max(initial=0)] = 1
    return mean.astype(np.float32), std.astype(np.float32)


def _tensors(
    vectors: NDArray[np.float32], types: NDArray[np.integer], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> tuple[Tensor, Tensor]:
    return torch.from_numpy((vectors - mean) / std), torch.from_numpy(np.asarray(types, np.int64))


def _one_epoch(
    network: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor, options: HeadOptions
) -> None:
    network.train()
    passes = -(-options.least_batches // -(-len(x) // options.batch))
    for _ in range(passes):
        for rows in torch.randperm(len(x)).split(options.batch):
            loss = functional.cross_entropy(network(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


@torch.no_grad()
def _loss(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return float(functional.cross_entropy(network.eval()(x), y))


def _numpy(parameter: Tensor) -> NDArray[np.float32]:
    return np.asarray(parameter.detach().numpy().copy(), np.float32)
