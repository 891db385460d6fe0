"""How much memory a step of training takes, told on a network without memory, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from histocyte.model.build import build_segmenter
from histocyte.model.spec import ModelSpec

__all__ = ["Demand", "demand_of"]

_FLOAT_BYTES = 4
_COPIES = 5
"""Of the weights: themselves, their average, gradients, and Adam's two moments."""
_BESIDE = 2.0
"""What a step takes for each byte that it keeps for the way back: gradients, and what kernels work in. Measured with
`hover_unet` on a CPU: 1.75."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Memory of a step, bytes in single precision.

    Attributes:
        weights: Whatever the batch.
        crop: For each crop of the batch.
    """

    weights: int
    crop: int

    def of(self, batch: int) -> int:
        """For a batch of so many crops."""
        return self.weights + batch * self.crop


def demand_of(spec: ModelSpec, crop_px: int, *, frozen: bool = False) -> Demand:
    """What training a network takes.

    Args:
        spec: Of the network.
        crop_px: Side of a crop.
        frozen: Whether its encoder stays as it is.
    """
    with torch.device("meta"):
        model = build_segmenter(spec).train()
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(not frozen)
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def see(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    crops = 2  # a batch norm wants more than one value of a channel
    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        maps = model(torch.empty(crops, 3, crop_px, crop_px, device="meta"))
    learnt = sum(p.numel() for p in model.parameters() if p.requires_grad)
    every = sum(p.numel() for p in model.parameters())
    weights = _FLOAT_BYTES * (every + (_COPIES - 1) * learnt)
    return Demand(weights, round(_BESIDE * (sum(kept.values()) + maps.nbytes) / crops))
