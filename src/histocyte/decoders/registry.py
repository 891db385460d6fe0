"""Decoders and heads by the name that a model file has for them; a package can add its own."""

from __future__ import annotations

from typing import Any

from histocyte.core.registry import Registry

__all__ = ["DECODERS", "HEADS"]

DECODERS: Registry[Any] = Registry(
    "decoder",
    {
        "dpt": "histocyte.decoders.dpt:DPT",
        "fcn": "histocyte.decoders.fcn:FCN",
        "fcn8": "histocyte.decoders.fcn8:FCN8",
        "fpn": "histocyte.decoders.fpn:FPN",
        "hover_branches": "histocyte.decoders.hover_branches:HoverBranches",
        "unet": "histocyte.decoders.unet:UNet",
        "unetr": "histocyte.decoders.unetr:UNETR",
    },
    group="histocyte.decoders",
)
"""(EncoderInfo, **options) → module with `width` and `stride`, (Features, normalised image) → (B, D, H / s, W / s)."""

HEADS: Registry[Any] = Registry(
    "heads",
    {
        "cpp_refine": "histocyte.decoders.cpp_refine:CppRefineHeads",
        "pixel_shuffle": "histocyte.decoders.heads:PixelShuffleHeads",
        "pointwise": "histocyte.decoders.heads:PointwiseHeads",
        "residual": "histocyte.decoders.residual_heads:ResidualHeads",
    },
    group="histocyte.heads",
)
"""(width, stride, MapSpecs, **options) → module, (B, D, H / s, W / s) → raw channels (B, C, H, W)."""
