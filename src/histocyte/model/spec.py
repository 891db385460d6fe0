"""What a model is, apart from its weights: parts and options, classes, resolution, where it comes from.

The spec travels inside the weights file, so that a path is all that inference needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from histocyte.core.errors import InputError, ModelError, reason_of
from histocyte.core.geometry import MPP_MAX, MPP_MIN
from histocyte.core.plain_text import plain
from histocyte.core.registry import check_options
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.tiles import LARGEST_TILE_PX, are_possible, check_tiles
from histocyte.core.version import __version__
from histocyte.model.history import History

__all__ = ["EncoderWeights", "ModelSpec", "Part", "Quantised"]


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Side = Annotated[int, Field(ge=1, le=LARGEST_TILE_PX)]
"""Side of squares that a network is given, px."""


class Part(BaseModel):
    """One part of a model by its registered name, with the options its factory is called with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _of_possible_sizes(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        check_options(value)
        return value


def _bare_name(name: str) -> str:
    """A file's name, which is looked for beside the model: it must lead nowhere else."""
    if not name or name in (".", "..") or {"/", "\\", "\0"} & set(name):
        raise ValueError(f"no name of a file: {name!r:.60}")
    return name


class EncoderWeights(BaseModel):
    """The published weights that an encoder began with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    """Over the encoder's tensors (`encoders.fingerprint`), whatever file they came in."""
    file: Annotated[str, AfterValidator(_bare_name)]
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
    mpp: Annotated[float, Field(ge=MPP_MIN, le=MPP_MAX, allow_inf_nan=False)] = 0.25
    """Resolution the network was trained at, µm/px."""
    mean: tuple[_Number, _Number, _Number] = (0.485, 0.456, 0.406)
    std: tuple[_Positive, _Positive, _Positive] = (0.229, 0.224, 0.225)
    tile_px: _Side = 768
    """Side of the squares the network is given at inference, working px."""
    margin_px: Annotated[int, Field(ge=0)] = 32
    """Border of a tile whose predictions are not used where a neighbouring tile has better."""
    multiple: _Side = 16
    """Image sides must be multiples of this: the coarsest stride of the encoder, or more where it joins its cells."""
    licence: str = "not stated"
    history: History = Field(default_factory=History)
    """What it has learnt from, held out and left out, and what binds it."""
    metrics: Mapping[str, Any] = Field(default_factory=dict)
    """Measured validation results, as `histocyte evaluate` gives them."""
    encoder_weights: EncoderWeights | None = None
    """Where the encoder's weights come from, as far as that is known."""
    training: Mapping[str, Any] = Field(default_factory=dict)
    """How it was trained: command, steps, seed, models before."""
    quantised: Quantised | None = None
    """How its layers became 8-bit integers; None in floating point."""
    histocyte: str = __version__

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: object) -> object:
        """Files of earlier versions kept sets under `data`, and names of images and what binds under `training`."""
        if not isinstance(value, Mapping):
            return value
        data, training = value.get("data", ()), value.get("training", {})
        old = [key for key in ("held_out", "left_out", "bound_by") if isinstance(training, Mapping) and key in training]
        if "data" not in value and not old:
            return value
        history = History.of_earlier(data, training)
        rest = {key: v for key, v in value.items() if key != "data"}
        return {**rest, "training": {k: v for k, v in training.items() if k not in old}, "history": history}

    @field_validator("taxonomy")
    @classmethod
    def _of_classes(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            Taxonomy.from_json(value)
        except InputError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _can_be_tiled(self) -> Self:
        if not are_possible(tile_px=self.tile_px, margin_px=self.margin_px, multiple=self.multiple):
            raise ValueError(
                f"tiles of {self.tile_px} px with margins of {self.margin_px} px cannot be, in multiples of "
                f"{self.multiple}"
            )
        return self

    def __repr__(self) -> str:
        """Its name, parts, classes and resolution; `model_dump` gives all of it."""
        parts = " → ".join(part.name for part in (self.encoder, self.decoder, self.heads, self.representation))
        classes = ", ".join(self.classes.names) or "no classes"
        return plain(f"<ModelSpec '{self.name}': {parts}; {classes}; {self.mpp:g} µm/px>", one_line=True)

    __str__ = __repr__

    @property
    def of_tissue(self) -> bool:
        """Whether it gives each pixel a class and parts no objects, so that tissue is what it tells apart."""
        return self.representation.name == "semantic"

    @property
    def has_background(self) -> bool:
        """Whether what is of no class is a class of its own, in a model of tissue."""
        return bool(self.representation.options.get("background", True))

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
        except (ValueError, TypeError, RecursionError) as error:  # also of text that is not Unicode, or no text at all
            raise ModelError(f"'{where}' holds no valid histocyte model spec: {reason_of(error)}.") from error

    def with_tiles(self, *, tile_px: int | None = None, margin_px: int | None = None) -> ModelSpec:
        """The same with other tiles at inference; what is None stays.

        Raises:
            InputError: The network cannot be given such tiles; says which it can.
        """
        if tile_px is None and margin_px is None:
            return self
        tile = self.tile_px if tile_px is None else tile_px
        margin = self.margin_px if margin_px is None else margin_px
        check_tiles(f"'{self.name}'", tile_px=tile, margin_px=margin, multiple=self.multiple)
        return self.with_changes(tile_px=tile, margin_px=margin)

    def with_changes(self, **changes: object) -> ModelSpec:
        """A copy with some fields replaced, checked again.

        Raises:
            ModelError: They cannot be.
        """
        try:
            return ModelSpec.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise ModelError(f"The model '{self.name}' cannot be changed so: {reason_of(error)}.") from error
