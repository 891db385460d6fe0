"""Encoders by the name that a model file has for them; a package can add its own."""

from __future__ import annotations

from typing import Any

from histocyte.core.registry import Registry

__all__ = ["ENCODERS"]

ENCODERS: Registry[Any] = Registry(
    "encoder",
    {
        "diffusion": "histocyte.encoders.networks.diffusion.encoder:DiffusionEncoder",
        "hovernet": "histocyte.encoders.networks.hovernet:HoverNetEncoder",
        "plain": "histocyte.encoders.networks.plain:PlainEncoder",
        "sam": "histocyte.encoders.networks.sam:SamEncoder",
        "timm_pyramid": "histocyte.encoders.networks.timm:TimmPyramid",
        "timm_vit": "histocyte.encoders.networks.timm:TimmViT",
    },
    group="histocyte.encoders",
)
"""(**options) → module with `info: EncoderInfo`, normalised image → `Features`."""
