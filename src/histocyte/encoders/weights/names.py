"""Published weights under timm's names, from the layouts of DINOv2, of transformers and of SAM."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

__all__ = ["ANCHORS", "timm_names", "without_prefix"]

ANCHORS = ("patch_embed.proj.weight", "patch_embeddings.projection.weight")
"""Names that every transformer has once; what stands before one is the prefix of the whole network."""

_LAYOUTS = {
    "SAM": [
        (r"^(blocks\.\d+\.mlp\.)lin([12])\.", r"\1fc\2."),
    ],
    "DINOv2": [
        (r"^register_tokens$", "reg_token"),
        (r"^(blocks\.\d+\.mlp\.)w12\.", r"\1fc1."),
        (r"^(blocks\.\d+\.mlp\.)w3\.", r"\1fc2."),
    ],
    "transformers": [
        (r"^embeddings\.cls_token$", "cls_token"),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.register_tokens$", "reg_token"),
        (r"^embeddings\.mask_token$", "mask_token"),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^layernorm\.", "norm."),
        (r"^encoder\.layer\.(\d+)\.(layernorm_before|norm1)\.", r"blocks.\1.norm1."),
        (r"^encoder\.layer\.(\d+)\.(layernorm_after|norm2)\.", r"blocks.\1.norm2."),
        (r"^encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.", r"blocks.\1.attn.\2."),
        (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
        (r"^encoder\.layer\.(\d+)\.(intermediate\.dense|mlp\.fc1|mlp\.weights_in)\.", r"blocks.\1.mlp.fc1."),
        (r"^encoder\.layer\.(\d+)\.(output\.dense|mlp\.fc2|mlp\.weights_out)\.", r"blocks.\1.mlp.fc2."),
        (r"^encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1$", r"blocks.\1.ls\2.gamma"),
    ],
}
"""By their origin, patterns with what replaces them; the first that fits a name counts."""

_RULES = [(re.compile(pattern), replacement) for rules in _LAYOUTS.values() for pattern, replacement in rules]


def without_prefix(found: Mapping[str, Tensor], anchors: Iterable[str]) -> dict[str, Tensor]:
    """One network out of a file: the names behind the prefix that stands before an anchor.

    What has another prefix is another network (DINO's head, SAM's decoder) and left out; a teacher goes before its
    student. Where no prefix stands out, all names stay as they are.
    """
    prefixes: set[str] = set()
    for anchor in anchors:
        prefixes |= {name.removesuffix(anchor) for name in found if f".{name}".endswith(f".{anchor}")}
        if prefixes:
            break
    # The anchor of a CNN, as "conv1.weight", comes back within its stages.
    outermost = {p for p in prefixes if not any(p != other and p.startswith(other) for other in prefixes)}
    chosen = {p for p in outermost if "teacher" in p} or outermost
    prefix = chosen.pop().removesuffix("embeddings.") if len(chosen) == 1 else ""
    return {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}


def timm_names(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under timm's names; a name that no layout knows stays as it is."""
    return _joined({_renamed(name): tensor for name, tensor in found.items()})


def _renamed(name: str) -> str:
    for pattern, replacement in _RULES:
        name, count = pattern.subn(replacement, name)
        if count:
            break
    return name


def _joined(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values in one matrix, as timm has them."""
    joined = dict(named)
    for name in named:
        if ".attn.query." not in name:
            continue
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in named for part in parts):
            joined[name.replace(".query.", ".qkv.")] = torch.cat([joined.pop(part) for part in parts])
    return joined
