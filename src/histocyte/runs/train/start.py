"""What a training begins with: a recipe's network with or without its encoder's weights, or a whole model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histocyte.core.digest import file_sha256
from histocyte.core.errors import InputError
from histocyte.core.taxonomy import NO_CLASSES, Taxonomy
from histocyte.model.checkpoint import load_model, read_spec
from histocyte.model.history import History
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import EncoderWeights, ModelSpec
from histocyte.model.zoo import bundled_models, find_model
from histocyte.recipes.fitting import refitted
from histocyte.recipes.registry import way_to_adapt
from histocyte.runs.train.defaults import first_spec, origin, start
from histocyte.runs.train.resolved import ResolvedRecipe

__all__ = ["Start"]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins.

    Attributes:
        spec: What the network is.
        encoder_weights: Weights of the encoder alone, as `encoders.hub.find_weights` takes them; at random where None.
        model: File of the model it goes on from, in place of those.
        options: Options of the recipe, as they were asked for.
    """

    spec: ModelSpec
    encoder_weights: str | None = None
    model: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        recipe: str | None,
        encoder: str | None,
        encoder_weights: str | None,
        start_from: str | None,
        mpp: float | None = None,
        taxonomy: Taxonomy = NO_CLASSES,
        options: Mapping[str, Any] | None = None,
    ) -> Start:
        """What the options of `histocyte train` ask for.

        Args:
            recipe: By name.
            encoder: In place of the recipe's own.
            encoder_weights: Where they come from.
            start_from: A model to go on from.
            mpp: Resolution to work at.
            taxonomy: Classes that a new model is to tell apart; one to go on from keeps its own.
            options: Options of the recipe, by name (`recipes.options`).

        Raises:
            UnknownNameError: No such recipe, encoder or model.
            InputError: They do not go together, or the model has no weights that can be trained.
            ResolutionError: No resolution to work at.
        """
        if start_from is None:
            spec = first_spec(recipe or "hover_unet", encoder, mpp=mpp, taxonomy=taxonomy, options=options)
            return cls(spec, encoder_weights, options=options or {})
        given = {"--recipe": recipe, "--encoder": encoder, "--encoder-weights": encoder_weights}
        given["--option"] = ", ".join(options or ()) or None
        asked = [option for option, value in given.items() if value is not None]
        if asked:
            raise InputError(
                f"--start-from begins with a whole model, {' and '.join(asked)} with another network. Use one or the "
                "other."
            )
        path = find_model(start_from).safetensors
        if path is None:
            raise InputError(f"'{start_from}' is for running only (ONNX); training goes on from a .safetensors model.")
        spec = read_spec(path)
        return cls(spec if mpp is None else refitted(spec, mpp), model=path)

    @classmethod
    def again(cls, recipe: ResolvedRecipe, path: Path, encoder_weights: str | None, start_from: str | None) -> Start:
        """Where a recipe began that was read from a file.

        A model or an encoder's weights that histocyte knows by name are found by it; others have to be passed again.

        Raises:
            InputError: They were not, or others were, or the recipe begins at random.
        """
        named, before = recipe.model.encoder_weights, recipe.started_from
        given = {"--encoder-weights": (encoder_weights, named and not before), "--start-from": (start_from, before)}
        for option, (value, takes) in given.items():
            if value is not None and not takes:
                raise InputError(f"'{path}' does not begin so. Leave out {option}.")
        if before:
            return cls(recipe.model, model=_same_model(recipe, path, start_from))
        where = encoder_weights or (named and named.source)
        if named is not None and not where:
            raise InputError(
                f"'{path}' begins with encoder weights from a file '{named.file}' (SHA-256 over its tensors "
                f"{named.sha256[:16]}…). Pass it: --encoder-weights FILE."
            )
        return cls(recipe.model, where or None)

    @property
    def pretrained(self) -> bool:
        """Whether the encoder begins with weights worth keeping."""
        return self.model is not None or self.encoder_weights is not None

    @property
    def way_to_adapt(self) -> str:
        """How much of the encoder is trained if nobody says: the recipe's way, or all of a whole model."""
        return "full" if self.model is not None else way_to_adapt(self.spec)

    @property
    def record(self) -> Mapping[str, object]:
        """What the spec of the trained model says of its beginning: the model before, and how that one was trained."""
        if self.model is None:
            return {}
        return {"started_from": {**self.named, "training": self.spec.training}}

    @property
    def named(self) -> Mapping[str, str]:
        """Name and SHA-256 of the model before; empty where there is none."""
        if self.model is None:
            return {}
        return {"name": read_spec(self.model).name, "sha256": file_sha256(self.model)}

    def network(self, *, seed: int) -> Segmenter:
        """The network with the weights it begins with; what they lack is drawn by the seed.

        Raises:
            InputError: Weights that are not there.
            ModelError: Weights that do not fit.
        """
        if self.model is not None:
            return load_model(self.model)[1].train()
        return start(self.spec, self.encoder_weights, seed=seed)

    def encoder_facts(self, network: Segmenter, *, included: bool) -> EncoderWeights | None:
        """How the spec names the weights that the encoder began with."""
        if self.model is not None:
            facts = self.spec.encoder_weights
            return None if facts is None else facts.model_copy(update={"included": True})
        return None if self.encoder_weights is None else origin(network, self.encoder_weights, included=included)

    @property
    def before(self) -> tuple[ModelSpec, ...]:
        """The model it goes on from, as it was trained; none where there is none."""
        return () if self.model is None else (read_spec(self.model),)

    @property
    def history(self) -> History:
        """What the model before has seen; nothing where there is none."""
        return History() if self.model is None else read_spec(self.model).history


def _same_model(recipe: ResolvedRecipe, path: Path, start_from: str | None) -> Path:
    """The model that a recipe goes on from: passed, or one of ours by its name.

    Raises:
        InputError: It is neither, or another.
    """
    before = recipe.started_from
    name, digest = before["name"], before["sha256"]
    if start_from is None and name not in bundled_models():
        raise InputError(
            f"'{path}' goes on from a model '{name}' (SHA-256 {digest[:16]}…). Pass its file: --start-from FILE."
        )
    model = find_model(start_from or name).safetensors
    found = "" if model is None else file_sha256(model)
    if model is None or found != digest:
        other = f" with SHA-256 {found[:16]}…" if found else " for running only (ONNX)"
        raise InputError(
            f"'{path}' goes on from a model '{name}' with SHA-256 {digest[:16]}…, and '{start_from or name}' is "
            f"one{other}. Pass the same file: --start-from FILE."
        )
    spec = read_spec(model)
    other_parts = [p for p in ("encoder", "decoder", "heads") if getattr(spec, p) != getattr(recipe.model, p)]
    if other_parts:
        raise InputError(f"'{path}' has another {' and '.join(other_parts)} than the model '{name}' it goes on from.")
    return model
