"""What a card says of an encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

__all__ = ["IMAGENET", "EncoderCard", "EncoderFacts", "stored_facts"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's channels, which most encoders are given images by."""


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What the built network shows; `encoders.measure` takes them on tensors without data.

    Attributes:
        parameters: Number of weights that the encoder has as we build it, without a classifier.
        widths: Channels of each map it gives, shallow to deep.
        strides: Input px per px of each map.
        taps: Blocks tapped, from 1; empty for a pyramid.
        patch_px: Side of a token; None for a pyramid.
        depth: Blocks; None for a pyramid.
        heads: Heads of attention in each block; None for a pyramid.
        prefix_tokens: Class token and registers; None for a pyramid.
        activations_mb: Most that tensors other than the weights take at once (10⁶ bytes), for one image of 1024² px (or
            the largest smaller size that fits) in float32, without gradients, with attention computed piece by piece.
    """

    parameters: int
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    taps: tuple[int, ...] = ()
    patch_px: int | None = None
    depth: int | None = None
    heads: int | None = None
    prefix_tokens: int | None = None
    activations_mb: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EncoderFacts:
        """From what `dataclasses.asdict` and JSON make of it."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)

    @property
    def memory_mb(self) -> int:
        """Memory of one 1024² image in float32 (10⁶ bytes): weights and activations, without gradients."""
        return round(4 * self.parameters / 1e6) + self.activations_mb


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """An encoder: where its weights come from, what may be done with them, and how it is built.

    Attributes:
        name: As users type it.
        title: As its authors call it.
        paper: DOI or arXiv number.
        hub: "owner/name" on the hub; empty where its weights are not there.
        file: Weights file, first choice.
        page: Where a person finds the weights.
        licence: Licence of the weights.
        commercial: Whether that licence allows commercial use; "unclear" where its wording needs a lawyer.
        gated: Whether the hub wants its conditions accepted before it gives them out.
        part: Name in `encoders.registry.ENCODERS`.
        options: Options of that part.
        mean: Per RGB channel of images scaled to 0–1.
        std: Standard deviation per RGB channel, on the same scale.
        native_px: Side of the images it was trained on.
        taps_from: Where the choice of tapped blocks comes from.
        mpp: Resolutions of the slides it was trained on, µm/px; empty for one trained on photographs.
        revision: Revision of the hub's repository; pinned where it is not a branch.
        sha256: SHA-256 of the file, where known.
        facts: What the built network shows.
    """

    name: str
    title: str
    paper: str
    hub: str
    licence: str
    commercial: Literal["yes", "no", "unclear"]
    part: str
    options: Mapping[str, Any]
    native_px: int
    facts: EncoderFacts
    taps_from: str = ""
    file: str = "model.safetensors"
    page: str = ""
    gated: bool = False
    mean: tuple[float, float, float] = IMAGENET[0]
    std: tuple[float, float, float] = IMAGENET[1]
    mpp: tuple[float, ...] = ()
    revision: str = "main"
    sha256: str = ""


@cache
def _stored() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files(__package__).joinpath("facts.json").read_text(encoding="utf-8")
    stored: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return stored


def stored_facts(name: str) -> EncoderFacts:
    """Facts of a card by its name, as `scripts/measure_encoders.py` wrote them; all zero before it did."""
    return EncoderFacts.from_json(_stored().get(name, {"parameters": 0, "widths": [], "strides": []}))
