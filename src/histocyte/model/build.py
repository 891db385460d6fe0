"""From a spec's part names to the parts themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from histocyte.core.errors import ModelError, UnknownNameError
from histocyte.model.spec import ModelSpec, Part
from histocyte.representations.hover import Hover

if TYPE_CHECKING:
    from torch import nn

    from histocyte.model.segmenter import Segmenter

__all__ = ["build_representation", "build_segmenter"]

REPRESENTATIONS: dict[str, Callable[..., Hover]] = {"hover": Hover}


def build_representation(part: Part) -> Hover:
    """The representation a spec names.

    Raises:
        UnknownNameError: No such representation.
    """
    if part.name not in REPRESENTATIONS:
        raise UnknownNameError("representation", part.name, REPRESENTATIONS)
    return _call(REPRESENTATIONS[part.name], part)


def build_segmenter(spec: ModelSpec) -> Segmenter:
    """The network of a spec, with random weights.

    Raises:
        UnknownNameError: A part that is not registered.
        ModelError: Options that a part does not take, or tissues for an encoder without a summary.
    """
    from torch import nn

    from histocyte.decoders.heads import PixelShuffleHeads, PointwiseHeads
    from histocyte.decoders.unet import UNet
    from histocyte.decoders.unetr import UNETR
    from histocyte.encoders.timm_encoder import TimmPyramid, TimmViT
    from histocyte.model.segmenter import Segmenter

    encoders: dict[str, Callable[..., nn.Module]] = {"timm_pyramid": TimmPyramid, "timm_vit": TimmViT}
    decoders: dict[str, Callable[..., nn.Module]] = {"unet": UNet, "unetr": UNETR}
    all_heads: dict[str, Callable[..., nn.Module]] = {"pixel_shuffle": PixelShuffleHeads, "pointwise": PointwiseHeads}
    specs = build_representation(spec.representation).maps
    encoder = _part(encoders, "encoder", spec.encoder)
    decoder = _part(decoders, "decoder", spec.decoder, encoder.info)
    heads = _part(all_heads, "heads", spec.heads, decoder.width, decoder.stride, specs)
    tissue = None
    if spec.tissues:
        if encoder.info.summary_width is None:
            raise ModelError(f"The encoder '{spec.encoder.name}' sums up no image, so it cannot tell tissues apart.")
        tissue = nn.Linear(encoder.info.summary_width, len(spec.tissues))
    return Segmenter(encoder, decoder, heads, specs, mean=spec.mean, std=spec.std, tissue=tissue)


def _part(registry: dict[str, Callable[..., nn.Module]], kind: str, part: Part, *given: object) -> Any:
    if part.name not in registry:
        raise UnknownNameError(kind, part.name, registry)
    return _call(registry[part.name], part, *given)


def _call(factory: Callable[..., Any], part: Part, *given: object) -> Any:
    try:
        return factory(*given, **part.options)
    except TypeError as error:
        raise ModelError(f"Part '{part.name}' does not take the options {dict(part.options)}: {error}.") from error
