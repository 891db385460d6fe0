"""What a training begins with: a recipe's network with or without its encoder's weights, or a whole model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histocyte.apps.cli.output import say
from histocyte.core.errors import InputError
from histocyte.core.taxonomy import NO_CLASSES, Taxonomy
from histocyte.datasets.name_list import named_samples
from histocyte.datasets.sample import Sample
from histocyte.datasets.splits import split_by_group
from histocyte.model.checkpoint import load_model, read_spec
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import EncoderWeights, ModelSpec
from histocyte.model.zoo import bundled_models, find_model
from histocyte.recipes.fitting import refitted
from histocyte.recipes.provenance import data_facts, facts_through, held_out_through, names_by_set
from histocyte.recipes.registry import way_to_adapt
from histocyte.recipes.resolved import ResolvedRecipe
from histocyte.recipes.training import first_spec, origin, start
from histocyte.training.ranks import launched

__all__ = ["Start"]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins.

    Attributes:
        spec: What the network is.
        encoder_weights: Of the encoder alone, as `encoders.hub.find_weights` takes them; at random where None.
        model: File of the model it goes on from, in place of those.
    """

    spec: ModelSpec
    encoder_weights: str | None = None
    model: Path | None = None

    @classmethod
    def of(
        cls,
        recipe: str | None,
        encoder: str | None,
        encoder_weights: str | None,
        start_from: str | None,
        mpp: float | None = None,
        taxonomy: Taxonomy = NO_CLASSES,
    ) -> Start:
        """What the options of `histocyte train` ask for.

        Args:
            recipe: By name.
            encoder: In place of the recipe's own.
            encoder_weights: Where they come from.
            start_from: A model to go on from.
            mpp: Resolution to work at.
            taxonomy: Classes that a new model is to tell apart; one to go on from keeps its own.

        Raises:
            UnknownNameError: No such recipe, encoder or model.
            InputError: They do not go together, or the model has no weights that can be trained.
            ResolutionError: No resolution to work at.
        """
        if start_from is None:
            return cls(first_spec(recipe or "hover_unet", encoder, mpp=mpp, taxonomy=taxonomy), encoder_weights)
        given = {"--recipe": recipe, "--encoder": encoder, "--encoder-weights": encoder_weights}
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
        how = {k: v for k, v in self.spec.training.items() if k not in ("held_out", "left_out", "bound_by")}
        return {"started_from": {**self.named, "training": how}}

    @property
    def named(self) -> Mapping[str, str]:
        """Name and SHA-256 of the model before; empty where there is none."""
        if self.model is None:
            return {}
        digest = hashlib.sha256(self.model.read_bytes()).hexdigest()
        return {"name": read_spec(self.model).name, "sha256": digest}

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

    def seen(
        self, training: Sequence[Sample], validation: Sequence[Sample], left_out: Sequence[Sample] = ()
    ) -> dict[str, Any]:
        """What the spec of the trained model says of its data: its own, and what the model before it has seen.

        Under "held_out" is all that it has not learnt from, so what was left out too; that stands apart once more.
        """
        own = {s.source for s in (*training, *validation)}
        facts: dict[str, Any] = {
            "data": facts_through(data_facts([*training, *validation]), self.before),
            "held_out": held_out_through(names_by_set([*validation, *left_out]), own, self.before),
        }
        before = {k: v for k, v in self._training_before.get("left_out", {}).items() if k not in own}
        if apart := {**names_by_set(left_out), **before}:
            facts["left_out"] = apart
        return facts

    def split(
        self, samples: Sequence[Sample], *, fraction: float, seed: int, fold: tuple[int, int] | None = None
    ) -> tuple[list[Sample], list[Sample]]:
        """Training and validation samples, no patient or slide on both sides.

        Of a set that the model was trained on, the images it did not learn from stay held out, whatever the fraction,
        the seed and the fold: on any other it would be scored on what it has seen.

        Raises:
            InputError: A set of a single group or of fewer than there are folds.
        """
        past, learnt = self._past, self._sets_learnt
        known = [s for s in samples if s.source in learnt]
        validation = {id(s) for s in known if s.name in past.get(s.source, ())}
        groups = {(s.source, s.group) for s in known if id(s) in validation}
        new = [s for s in samples if s.source not in learnt]
        if new:
            validation |= {id(s) for s in split_by_group(new, fraction=fraction, seed=seed, fold=fold)[1]}
        if known:
            sets = ", ".join(sorted({s.source for s in known}))
            if launched().leads:
                say(f"Of {sets} the images that the model has not learnt from stay held out.")
        if not validation:
            raise InputError(
                "The model was trained on all of these images, so none is left to score it on. Add images it has not "
                "seen."
            )
        validation |= {id(s) for s in known if (s.source, s.group) in groups}
        return [s for s in samples if id(s) not in validation], [s for s in samples if id(s) in validation]

    def leave_out(self, samples: Sequence[Sample], names: Sequence[str]) -> tuple[list[Sample], list[Sample]]:
        """The samples to learn from and to choose by, and those kept for a test of the model at the end.

        What was kept so from the model before stays kept.

        Args:
            samples: From one or more data sets.
            names: Of the images to keep (`datasets.name_list`).

        Raises:
            InputError: No such image, one that the model before has learnt from or was chosen by, or a patient or slide
                on both sides.
        """
        kept = {id(s) for s in named_samples(samples, names, where="The list of images to leave out")}
        before, known = self._training_before.get("left_out", {}), [s for s in samples if s.source in self._sets_learnt]
        seen = [s.name for s in known if id(s) in kept and s.name not in before.get(s.source, ())]
        if seen:
            raise InputError(
                f"The model '{self.spec.name}' has learnt from or was chosen by {len(seen)} of the images to leave out "
                f"(e.g. '{seen[0]}'), so no score on them would be honest. Begin with another."
            )
        kept |= {id(s) for s in samples if s.name in before.get(s.source, ())}
        groups = {(s.source, s.group) for s in samples if id(s) in kept}
        torn = [s for s in samples if id(s) not in kept and (s.source, s.group) in groups]
        if torn:
            raise InputError(
                f"'{torn[0].name}' is of the same patient or slide ('{torn[0].group}') as an image to leave out, and "
                f"is not left out itself; so are {len(torn)} images in all. Add them to the list."
            )
        return [s for s in samples if id(s) not in kept], [s for s in samples if id(s) in kept]

    @property
    def _training_before(self) -> Mapping[str, Any]:
        return {} if self.model is None else self.spec.training

    @property
    def _past(self) -> Mapping[str, Sequence[str]]:
        """Names, by set, that the model before has not learnt from."""
        past: Mapping[str, Sequence[str]] = self._training_before.get("held_out", {})
        return past

    @property
    def _sets_learnt(self) -> set[str]:
        return set() if self.model is None else {*self._past, *(str(entry["name"]) for entry in self.spec.data)}


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
    found = "" if model is None else hashlib.sha256(model.read_bytes()).hexdigest()
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
