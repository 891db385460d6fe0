"""Low-rank adapters: a few trained numbers beside each large, fixed matrix (LoRA).

Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models (arXiv 2106.09685).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histocyte.core.errors import InputError, ModelError

__all__ = [
    "ATTENTION",
    "DOWN",
    "MLP",
    "UP",
    "LowRankLinear",
    "add_adapters",
    "apply_low_rank",
    "merge_adapters",
    "scaled_adapters",
]

ATTENTION = (
    *("*attn.qkv", "*attn.[qkv]", "*attn.[qkvo]_proj", "*attn.proj", "*attn.out_proj"),  # timm, SAM, CLIP
    *("*attention.query", "*attention.key", "*attention.value", "*attention.output.dense"),  # transformers
    *("*attention.[qkvo]_proj", "*attention.qkv", "*attention.projection"),
)
"""Names of the matrices of self-attention, in the libraries that bring vision transformers."""

MLP = (
    *("*mlp.fc[12]", "*mlp.fc1_[gx]", "*mlp.w[123]", "*mlp.w12", "*mlp.lin[12]"),
    *("*intermediate.dense", "*[0-9].output.dense", "*mlp.weights_in", "*mlp.weights_out"),
)
"""Names of the matrices of the feed-forward part of a block."""

DOWN, UP = "lora_a", "lora_b"
"""Names of A and B among a layer's weights."""


class LowRankLinear(nn.Linear):
    """A linear layer with weight W + (alpha / r) B A, of which W (O, I) stays and A (r, I) and B (O, r) are trained.

    B starts at zero, so that the layer starts as the one it replaces. W keeps its name among the weights, `lora_a` and
    `lora_b` join it. Whoever reads `weight` gets the sum: some attentions (BEiT, Swin v2) take it from the layer
    instead of calling the layer.

    Args:
        base: The layer to stand in for; its tensors are taken over, not copied.
        rank: r.
        alpha: Scale of what is learnt; alpha / r is kept with A and B, so that the learning rate need not follow r.
        generator: Draws A.

    Raises:
        InputError: The rank is not in 1 … min(I, O).
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, *, generator: torch.Generator | None = None) -> None:
        nn.Module.__init__(self)
        if not 1 <= rank <= min(base.in_features, base.out_features):
            raise InputError(
                f"A low-rank adapter of {base.in_features} → {base.out_features} channels needs a rank of "
                f"1–{min(base.in_features, base.out_features)}, got {rank}."
            )
        self.in_features, self.out_features, self.scale = base.in_features, base.out_features, alpha / rank
        like: dict[str, Any] = {"dtype": base.weight.dtype, "device": base.weight.device}
        # Past `register_parameter`, which the property stands in the way of.
        self._parameters["weight"] = base._parameters["weight"]
        self.register_parameter("bias", base.bias)
        # As linear layers start (Kaiming, a = √5), drawn on the CPU: the same numbers on any device.
        bound = base.in_features**-0.5
        down = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_a = nn.Parameter(down.to(**like))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, **like))
        self.train(base.training)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(O, I) the sum."""
        return self.fixed + self.scale * (self.lora_b @ self.lora_a)

    @property
    def fixed(self) -> Tensor:
        """(O, I) the part that stays."""
        fixed = self._parameters["weight"]
        assert fixed is not None
        return fixed

    def forward(self, input: Tensor) -> Tensor:
        """Both parts on (…, I); the sum is not written out, so that learning costs no gradient of its size."""
        return F.linear(input, self.fixed, self.bias) + F.linear(F.linear(input, self.lora_a), self.lora_b * self.scale)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain layer that computes the same."""
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        plain.weight = nn.Parameter(self.weight.clone(), requires_grad=False)
        if self.bias is not None:
            plain.bias = self.bias
        return plain.train(self.training)


def add_adapters(
    module: nn.Module, targets: Sequence[str] = ATTENTION, *, rank: int = 8, alpha: float = 16.0, seed: int = 0
) -> list[str]:
    """Put an adapter on every linear layer whose name fits; nothing is frozen by this.

    Args:
        module: Changed in place.
        targets: Patterns (`*`, `?`, `[abc]`) that a whole name must fit, e.g. "*attn.qkv".
        rank: Rank of A and B.
        alpha: Scale of what is learnt.
        seed: Seed of A; a layer's depends on its place among the adapted ones alone.

    Returns:
        Names of the adapted layers.

    Raises:
        InputError: No linear layer has such a name, or the rank does not fit one.
    """
    linears = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
    chosen = [n for n in linears if any(fnmatchcase(n, pattern) for pattern in targets)]
    if not chosen:
        there = f"its linear layers are {', '.join(list(linears)[:8])}" if linears else "it has no linear layers"
        raise InputError(
            f"No linear layer of this encoder fits {', '.join(targets)}: {there}. "
            "Name others, or adapt the last blocks."
        )
    generator = torch.Generator().manual_seed(seed)
    for name in chosen:
        _replace(module, name, LowRankLinear(linears[name], rank, alpha, generator=generator))
    return chosen


def merge_adapters(module: nn.Module) -> nn.Module:
    """Write every adapter into the weights it stands beside, in place, and return the module: plain layers again."""
    for name, layer in [(n, m) for n, m in module.named_modules() if isinstance(m, LowRankLinear)]:
        _replace(module, name, layer.merged())
    return module


def scaled_adapters(module: nn.Module) -> dict[str, Tensor]:
    """A and B of every adapter by their names among the weights, B times alpha / r: as a model file holds them."""
    found = {}
    for name, layer in module.named_modules():
        if isinstance(layer, LowRankLinear):
            found[f"{name}.{DOWN}"] = layer.lora_a.detach().clone()
            found[f"{name}.{UP}"] = layer.lora_b.detach() * layer.scale
    return found


@torch.no_grad()
def apply_low_rank(weights: Mapping[str, Tensor], adapters: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """Weights with `scaled_adapters` added: NAME.weight + B A for each pair NAME.lora_a, NAME.lora_b.

    Returns:
        The weights that change, by name.

    Raises:
        ModelError: Half a pair, or one that fits no weight; `where` names the file.
    """
    changed = {}
    for layer in sorted({key.rpartition(".")[0] for key in adapters}):
        pair = adapters.get(f"{layer}.{DOWN}"), adapters.get(f"{layer}.{UP}")
        weight = weights.get(f"{layer}.weight")
        if pair[0] is None or pair[1] is None:
            raise ModelError(f"'{where}' holds half an adapter of '{layer}': it needs {DOWN} and {UP}.")
        up, down = tuple(pair[1].shape), tuple(pair[0].shape)
        fits = len(up) == len(down) == 2 and up[1] == down[0]
        if weight is None or not fits or tuple(weight.shape) != (up[0], down[1]):
            raise ModelError(f"'{where}' holds an adapter of '{layer}', which this model does not have in that shape.")
        changed[f"{layer}.weight"] = weight + (pair[1] @ pair[0]).to(weight)
    return changed


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, new)
