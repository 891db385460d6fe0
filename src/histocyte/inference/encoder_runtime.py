"""An encoder alone as a runtime: features, and nothing decoded."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from histocyte.core.maps import MapSpec
from histocyte.encoders.protocol import Features
from histocyte.inference.torch_runtime import TorchRuntime
from histocyte.model.segmenter import Segmenter

__all__ = ["CHANNELS", "encoder_runtime"]

CHANNELS = 1
"""Channels of the maps that it gives, which mean nothing."""


class _Nothing(nn.Module):
    """A decoder that computes nothing."""

    def forward(self, features: Features, image: Tensor) -> Tensor:
        return image[:, :CHANNELS]


def encoder_runtime(
    encoder: nn.Module, *, mean: Sequence[float], std: Sequence[float], device: str = "auto"
) -> TorchRuntime:
    """A runtime whose features are those of the model that the encoder belongs to, without that model's decoder.

    Args:
        encoder: With `info` (`encoders.protocol`).
        mean: Per RGB channel, of images scaled to 0–1.
        std: Standard deviation per RGB channel, on the same scale.
        device: As for `TorchRuntime`.

    Raises:
        InputError: A device that this machine does not have.
    """
    maps = (MapSpec("nothing", CHANNELS),)
    return TorchRuntime(Segmenter(encoder, _Nothing(), nn.Identity(), maps, mean=mean, std=std), device=device)
