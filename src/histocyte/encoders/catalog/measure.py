"""Facts of an encoder by building it on tensors without data, so that a giant costs no memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from histocyte.core.errors import UnknownNameError
from histocyte.core.registry import check_options
from histocyte.encoders.catalog.card import EncoderFacts
from histocyte.encoders.networks.diffusion.encoder import DiffusionEncoder
from histocyte.encoders.networks.sam import SamEncoder
from histocyte.encoders.networks.timm import TimmPyramid, TimmViT

__all__ = ["activations_mb", "build_empty", "facts_of"]

_PARTS: Mapping[str, type[nn.Module]] = {
    "diffusion": DiffusionEncoder,
    "timm_pyramid": TimmPyramid,
    "timm_vit": TimmViT,
    "sam": SamEncoder,
}
"""Those of `encoders.registry.ENCODERS` whose pre-trained weights have a card."""


def build_empty(part: str, options: Mapping[str, Any]) -> nn.Module:
    """The encoder on the meta device: names and shapes of its weights, and no memory.

    Raises:
        UnknownNameError: No part of ours.
        ValueError: Sizes that no encoder can have.
    """
    if part not in _PARTS:
        raise UnknownNameError("encoder part", part, _PARTS)
    check_options(options)
    with torch.device("meta"):
        return _PARTS[part](**options).eval()


def facts_of(encoder: nn.Module, *, side_px: int = 1024) -> EncoderFacts:
    """Facts of an encoder on the meta device, or any."""
    info: Any = encoder.info
    parameters = sum(p.numel() for p in encoder.parameters())
    shared = (parameters, info.widths, info.strides)
    if isinstance(encoder, TimmPyramid | DiffusionEncoder):
        return EncoderFacts(*shared, activations_mb=activations_mb(encoder, side_px))
    assert isinstance(encoder, TimmViT | SamEncoder)
    body: Any = encoder.body
    return EncoderFacts(
        *shared,
        taps=encoder.taps,
        patch_px=encoder.patch,
        depth=len(body.blocks),
        heads=int(body.blocks[0].attn.num_heads),
        prefix_tokens=int(getattr(body, "num_prefix_tokens", 0)),
        activations_mb=activations_mb(encoder, side_px),
    )


def activations_mb(encoder: nn.Module, side_px: int = 1024) -> int:
    """Most that tensors take at once while one square image passes, 10⁶ bytes; the weights not counted.

    Args:
        encoder: On the meta device.
        side_px: Side of the image; the largest multiple of what the encoder takes that is no larger.
    """
    info: Any = encoder.info
    side = side_px // info.multiple * info.multiple
    live = _LiveBytes()
    with torch.inference_mode(), _fused_attention(), live:
        encoder(torch.empty(1, 3, side, side, device="meta"))
    return round(live.most / 1e6)


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most = 0, 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {self._key(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._count(tensor, given)
        self.most = max(self.most, self.now)
        return out

    @staticmethod
    def _key(tensor: Tensor) -> int:
        return int(tensor.untyped_storage()._cdata)

    def _count(self, tensor: Tensor, given: set[int]) -> None:
        storage = tensor.untyped_storage()
        key, size = self._key(tensor), storage.nbytes()
        if key in given or key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


@contextmanager
def _fused_attention() -> Iterator[None]:
    """Attention as the fused kernels take memory: its result alone. On the meta device it would be the plain way."""
    plain = F.scaled_dot_product_attention

    def fused(query: Tensor, _key: Tensor, value: Tensor, *_given: Any, **_options: Any) -> Tensor:
        return query.new_empty((*query.shape[:-1], value.shape[-1]))

    F.scaled_dot_product_attention = fused  # type: ignore[assignment]
    try:
        yield
    finally:
        F.scaled_dot_product_attention = plain
