"""What a model is, apart from its weights: parts and options, classes, resolution, where it comes from.

The spec travels inside the weights file, so that a path is all that inference needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from histocyte.core.errors import ModelError
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.version import __version__

__all__ = ["EncoderWeights", "ModelSpec", "Part", "Quantised"]


class Part(BaseModel):
    """One part of a model by its registered name, with the options its factory is called with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: Mapping[str, Any] = Field(default_factory=dict)


class EncoderWeights(BaseModel):
    """The published weights that an encoder began with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    """Over the encoder's tensors (`encoders.fingerprint`), whatever file they came in."""
    file: str
    """Name of that file."""
    source: str = ""
    """Name of the encoder's card, or "hub:owner/name"; empty for a file of the user's own."""
    included: bool = True
    """Whether the model file holds them, as far as training left them. If not, it cannot be used without them
    (`model.delta`)."""


class Quantised(BaseModel):
    """How layers were brought to 8-bit integers (`model.quantise`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_of: str
    """SHA-256 of the file of the model in floating point."""
    calibrated_on: tuple[str, ...]
    """Names of the slides, or of the folders of images, that ranges were measured on."""
    slides: int
    """How many slides or images that were."""
    tiles: int
    tile_px: int
    sha256: str
    """Over the tiles' pixels."""
    float_layers: tuple[str, ...] = ()
    """Layers that stay in floating point."""
    quantiser: str = ""
    """Program and version."""


class ModelSpec(BaseModel):
    """Everything needed to build a model and to use it, but its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """As users type it after `--model`."""
    description: str = ""
    recipe: str = ""
    """The recipe that made this spec."""
    encoder: Part
    decoder: Part
    heads: Part
    representation: Part
    taxonomy: Mapping[str, Any]
    """`Taxonomy.to_json()`."""
    tissues: tuple[str, ...] = ()
    """Kinds of tissue that a head on the whole image tells apart; none for a model without it."""
    mpp: float = 0.25
    """Resolution the network was trained at, µm/px."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    tile_px: int = 768
    """Side of the squares the network is given at inference, working px."""
    margin_px: int = 32
    """Border of a tile whose predictions are not used where a neighbouring tile has better."""
    multiple: int = 16
    """Image sides must be multiples of this: the coarsest stride of the encoder, or more where it joins its cells."""
    licence: str = "not stated"
    data: tuple[Mapping[str, Any], ...] = ()
    """Training data: name, licence, citation, number of images and nuclei."""
    metrics: Mapping[str, Any] = Field(default_factory=dict)
    """Measured validation results, as `histocyte evaluate` gives them."""
    encoder_weights: EncoderWeights | None = None
    """Where the encoder's weights come from, as far as that is known."""
    training: Mapping[str, Any] = Field(default_factory=dict)
    """How it was trained: command, steps, seed, split."""
    quantised: Quantised | None = None
    """How its layers became 8-bit integers; None in floating point."""
    histocyte: str = __version__

    @property
    def classes(self) -> Taxonomy:
        """The cell classes."""
        return Taxonomy.from_json(self.taxonomy)

    @classmethod
    def parse(cls, text: str | bytes, *, where: str) -> ModelSpec:
        """Read a spec from JSON.

        Raises:
            ModelError: Not a spec; `where` names the file.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(p) for p in first["loc"]) or "the whole"
            raise ModelError(f"'{where}' holds no valid histocyte model spec: {place}: {first['msg']}.") from error

    def with_changes(self, **changes: object) -> ModelSpec:
        """A copy with some fields replaced, checked again."""
        return ModelSpec.model_validate({**self.model_dump(), **changes})
