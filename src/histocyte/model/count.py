"""How large a model is, known without making room for it."""

from __future__ import annotations

import torch

from histocyte.model.build import build_segmenter
from histocyte.model.spec import ModelSpec

__all__ = ["count_parameters"]


def count_parameters(spec: ModelSpec) -> dict[str, int]:
    """Parameters of encoder, decoder, heads, tissue head (where there is one) and all, from a network without memory.

    Raises:
        UnknownNameError: A part that is not registered.
        ModelError: Options that a part does not take.
    """
    with torch.device("meta"):
        network = build_segmenter(spec)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    return {"all": sum(p.numel() for p in network.parameters()), **counts}
