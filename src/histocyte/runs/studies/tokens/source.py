"""Which encoder the token study looks at: that of a model, or one alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from histocyte.core.errors import InputError, ModelError, UnknownNameError, require
from histocyte.core.tiles import check_tiles
from histocyte.model.history import History
from histocyte.model.spec import ModelSpec, Part

__all__ = ["TokenSource", "find_source"]

ALONE_MPP = 0.25
"""At which an encoder alone is shown the cells, µm/px."""
ALONE_TILE_PX = 256
"""About what encoders are pre-trained at; other sizes have their positional embeddings resampled."""
ALONE_MARGIN_PX = 32


@dataclass(frozen=True)
class TokenSource:
    """An encoder with its weights and the way it is shown images.

    Attributes:
        name: What tables call it.
        encoder: The network, `encoders.protocol`.
        part: It was built from.
        mean: Per RGB channel, of images scaled to 0–1.
        std: Standard deviation per RGB channel, on the same scale.
        mpp: Resolution it is shown, µm/px.
        tile_px: Side of a tile.
        margin_px: Margin of a tile.
        history: What the weights have learnt from, as far as the file says.
    """

    name: str
    encoder: Any
    part: Part
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mpp: float
    tile_px: int
    margin_px: int
    history: History = field(default_factory=History)

    def random_copy(self, seed: int) -> TokenSource:
        """The same network with the weights it would begin training from, and no others: what its shape alone gives."""
        torch = require("torch", extra="study")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = _build(self.part)
        return replace(self, name=f"{self.name}, random weights", encoder=encoder, history=History())


def find_source(
    text: str,
    *,
    tap: int | None = None,
    tile_px: int | None = None,
    margin_px: int | None = None,
    normalise: tuple[float, float] | None = None,
) -> TokenSource:
    """A bundled model's name, a model file, ENCODER=WEIGHTS_FILE, or the name of an encoder whose weights can be had.

    Args:
        text: As typed.
        tap: Block of a vision transformer, or level of a pyramid, that is read, from 1; of an encoder alone. The last
            where None.
        tile_px: Side of a tile; the model's own, or about what the encoder was trained at, where None.
        margin_px: Its margin; the model's own, or as suits the tile, where None.
        normalise: Mean and std that the weights expect; of an encoder alone, where they are not its card's.

    Raises:
        InputError: No such model, encoder or file; a tap or normalisation for a model, which has its own; tiles that
            the encoder cannot be given.
        ModelError: Weights that do not fit.
        MissingExtraError: torch or timm is not installed.
    """
    require("torch", extra="study")
    name, equals, weights = text.partition("=")
    if equals:
        source = _alone(name, Path(weights), tap, normalise)
    elif (source_or_none := _of_model(text)) is not None:
        if tap is not None or normalise is not None:
            raise InputError("--tap and --normalise are for an encoder alone; a model has both in its file.")
        source = source_or_none
    else:
        source = _alone(name, None, tap, normalise)
    return _with_tiles(source, tile_px, margin_px)


def _with_tiles(source: TokenSource, tile_px: int | None, margin_px: int | None) -> TokenSource:
    """The source with the tiles asked for; those that are not fit its encoder's steps.

    Raises:
        InputError: It cannot be given them.
    """
    multiple = max(1, int(source.encoder.info.multiple))
    tile, margin = source.tile_px if tile_px is None else tile_px, source.margin_px if margin_px is None else margin_px
    if tile_px is None:
        tile = max(multiple, tile // multiple * multiple)
    if margin_px is None and tile_px is not None:
        margin = min(margin, tile // 8)
    if margin_px is None and 2 * margin % multiple:
        margin = margin // multiple * multiple
    check_tiles(f"'{source.name}'", tile_px=tile, margin_px=margin, multiple=multiple)
    return replace(source, tile_px=tile, margin_px=margin)


def _of_model(text: str) -> TokenSource | None:
    """The encoder of a model; None where there is no model of that name but may be an encoder."""
    from histocyte.model.checkpoint import load_model
    from histocyte.model.zoo import find_model

    try:
        found = find_model(text)
    except UnknownNameError:
        if Path(text).suffix or "/" in text:
            raise
        return None
    if found.safetensors is None:
        raise ModelError(f"The study needs the .safetensors file of '{found.name}'; there is only '{found.any}'.")
    spec, network = load_model(found.safetensors)
    return _of_spec(spec, network.encoder)


def _of_spec(spec: ModelSpec, encoder: Any) -> TokenSource:
    return TokenSource(
        spec.name,
        encoder,
        spec.encoder,
        spec.mean,
        spec.std,
        spec.mpp,
        spec.tile_px,
        spec.margin_px,
        spec.history,
    )


def _alone(name: str, weights: Path | None, tap: int | None, normalise: tuple[float, float] | None) -> TokenSource:
    """An encoder with published weights.

    Raises:
        InputError: No such encoder or file.
    """
    from histocyte.encoders.catalog.find import find_card
    from histocyte.encoders.weights.load import load_encoder_weights
    from histocyte.model.zoo import bundled_models

    try:
        card = find_card(name)
    except UnknownNameError as error:
        models = ", ".join(bundled_models())
        raise InputError(f"'{name}' is neither a model ({models}) nor an encoder. {error}") from error
    if weights is not None and not weights.exists():
        raise InputError(f"There is no weights file or folder '{weights}' for '{name}'.")
    options = dict(card.options)
    label = name if weights is None else f"{name} ({weights.stem if weights.is_file() else weights.name})"
    if tap is not None:
        if tap < 1:
            raise InputError(f"--tap counts from 1; {tap} was asked for.")
        options |= {"taps": [tap]} if "taps" in options or card.facts.depth else {"depths": list(range(tap))}
        label += f", tap {tap}"
    part = Part(name=card.part, options=options)
    encoder = _build(part)
    load_encoder_weights(encoder, name if weights is None else weights)
    mean, std = (card.mean, card.std) if normalise is None else ((normalise[0],) * 3, (normalise[1],) * 3)
    return TokenSource(label, encoder, part, mean, std, ALONE_MPP, ALONE_TILE_PX, ALONE_MARGIN_PX)


def _build(part: Part) -> Any:
    from histocyte.encoders.registry import ENCODERS

    return ENCODERS[part.name](**part.options).eval()
