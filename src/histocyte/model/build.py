"""From a spec's part names to the parts themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from histocyte.core.errors import InputError, ModelError
from histocyte.decoders.registry import DECODERS, HEADS
from histocyte.encoders.registry import ENCODERS
from histocyte.files.foreign import foreign_parser
from histocyte.model.spec import ModelSpec, Part
from histocyte.representations.protocol import Representation
from histocyte.representations.registry import REPRESENTATIONS

if TYPE_CHECKING:
    from histocyte.model.segmenter import Segmenter

__all__ = ["build_representation", "build_segmenter", "check_spec", "count_parameters"]


def build_representation(part: Part) -> Representation:
    """The representation a spec names, each option held to the type that the representation gives it.

    Raises:
        UnknownNameError: No such representation.
        ModelError: Options that it does not take.
    """
    factory: Any = REPRESENTATIONS[part.name]
    built: Representation = _call(factory, part)
    if is_dataclass(factory):
        built = _call(lambda **options: TypeAdapter(factory).validate_python(options), part)
    return built


def check_spec(spec: ModelSpec, *, where: str) -> ModelSpec:
    """The spec of a file, if its parts fit each other as far as can be told without its weights.

    Args:
        spec: What the file says.
        where: Names the file.

    Raises:
        ModelError: An unknown representation or options that it does not take, or maps of other than the spec's
            classes.
    """
    try:
        representation = build_representation(spec.representation)
    except InputError as error:
        raise ModelError(f"'{where}' cannot be used: {error}") from error
    told = getattr(representation, "classes", len(spec.classes))
    if told != len(spec.classes):
        raise ModelError(
            f"'{where}' contradicts itself: its maps tell {told} classes apart, and it names {len(spec.classes)}. "
            "Make it again, or get it again from where it came."
        )
    return spec


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
    # Numbers out of range come back as anything, from torch's and timm's depths too.
    with foreign_parser(
        lambda why: ModelError(f"The part '{part.name}' does not take the options {dict(part.options)!r:.300}: {why}.")
    ):
        return factory(*given, **part.options)


def count_parameters(spec: ModelSpec) -> dict[str, int]:
    """Parameters of encoder, decoder, heads, tissue head (where there is one) and all, from a network without memory.

    Raises:
        UnknownNameError: A part that is not registered.
        ModelError: Options that a part does not take.
    """
    import torch

    with torch.device("meta"):
        network = build_segmenter(spec)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    return {"all": sum(p.numel() for p in network.parameters()), **counts}
