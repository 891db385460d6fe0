"""From a spec's part names to the parts themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from histocyte.core.errors import ModelError
from histocyte.core.registry import Registry
from histocyte.model.spec import ModelSpec, Part
from histocyte.representations.protocol import Representation

if TYPE_CHECKING:
    from histocyte.model.segmenter import Segmenter

__all__ = ["DECODERS", "ENCODERS", "HEADS", "REPRESENTATIONS", "build_representation", "build_segmenter"]

ENCODERS: Registry[Any] = Registry(
    "encoder",
    {
        "hovernet": "histocyte.encoders.hovernet_encoder:HoverNetEncoder",
        "plain": "histocyte.encoders.plain_encoder:PlainEncoder",
        "sam": "histocyte.encoders.sam_encoder:SamEncoder",
        "timm_pyramid": "histocyte.encoders.timm_encoder:TimmPyramid",
        "timm_vit": "histocyte.encoders.timm_encoder:TimmViT",
    },
    group="histocyte.encoders",
)
"""(**options) → module with `info: EncoderInfo`, normalised image → `Features`."""

DECODERS: Registry[Any] = Registry(
    "decoder",
    {
        "dpt": "histocyte.decoders.dpt:DPT",
        "fcn": "histocyte.decoders.fcn:FCN",
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

REPRESENTATIONS: Registry[Representation] = Registry(
    "representation",
    {
        "distance": "histocyte.representations.distance:Distance",
        "flow": "histocyte.representations.flow:Flow",
        "hover": "histocyte.representations.hover:Hover",
        "semantic": "histocyte.representations.semantic:Semantic",
        "star": "histocyte.representations.star:Star",
    },
    group="histocyte.representations",
)
"""(**options) → `Representation`."""


def build_representation(part: Part) -> Representation:
    """The representation a spec names.

    Raises:
        UnknownNameError: No such representation.
        ModelError: Options that it does not take.
    """
    built: Representation = _call(REPRESENTATIONS[part.name], part)
    return built


def build_segmenter(spec: ModelSpec) -> Segmenter:
    """The network of a spec, with random weights.

    Raises:
        UnknownNameError: A part that is not registered.
        ModelError: Options that a part does not take, or tissues for an encoder without a summary.
    """
    from torch import nn

    from histocyte.model.segmenter import Segmenter

    specs = build_representation(spec.representation).maps
    encoder = _call(ENCODERS[spec.encoder.name], spec.encoder)
    decoder = _call(DECODERS[spec.decoder.name], spec.decoder, encoder.info)
    heads = _call(HEADS[spec.heads.name], spec.heads, decoder.width, decoder.stride, specs)
    tissue = None
    if spec.tissues:
        if encoder.info.summary_width is None:
            raise ModelError(f"The encoder '{spec.encoder.name}' sums up no image, so it cannot tell tissues apart.")
        tissue = nn.Linear(encoder.info.summary_width, len(spec.tissues))
    return Segmenter(encoder, decoder, heads, specs, mean=spec.mean, std=spec.std, tissue=tissue)


def _call(factory: Callable[..., Any], part: Part, *given: object) -> Any:
    try:
        return factory(*given, **part.options)
    except TypeError as error:
        raise ModelError(f"Part '{part.name}' does not take the options {dict(part.options)}: {error}.") from error
