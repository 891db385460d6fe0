"""The losses of a student: what it is told by its teachers, and by the labels.

    L = α Σ distillation + β Σ student

Distillation, per map: T² KL between softened probabilities, or the mean squared error of what is not a probability;
where
the student learns by way of the teacher's labels, its own loss terms against these. Student: its own loss terms against
the true labels, with their own weights. As the lightweight model's (Shvetsov et al. 2025, arXiv 2502.19217: T = 14,
α = 0.3, β = 0.7), whose text leaves open which of the two coefficients belongs to which term.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from histocyte.core.errors import InputError
from histocyte.losses.distillation import (
    feature_distance,
    merged_divergence,
    softened_binary_divergence,
    softened_divergence,
    weighted_squared_error,
)
from histocyte.model.segmenter import Segmenter
from histocyte.representations.maps.kinds import FOREGROUND
from histocyte.representations.maps.raw_maps import raw_maps
from histocyte.representations.protocol import Representation
from histocyte.training.crops import Batch
from histocyte.training.distil.crops import DistilBatch
from histocyte.training.distil.lessons import Lesson, Lessons
from histocyte.training.terms import loss_terms

__all__ = ["PROJECTION", "DistilLosses", "DistilOptions", "add_projection", "drop_projection", "loss_weights"]

PROJECTION = "projection"
"""Name of the layer that brings the student's features to the teacher's width; no part of the model in the end."""

Reading = Literal["natural", "swapped"]
Features = Literal["none", "cosine", "mse"]


@dataclass(frozen=True, slots=True)
class DistilOptions:
    """How a student is taught; saved with the run."""

    temperature: float = 14.0
    alpha: float = 0.3
    beta: float = 0.7
    reading: Reading = "natural"
    """natural: α weighs the distillation and β the student's own loss, in the order in which the paper names both;
    swapped: the other way round."""
    squared: bool = True
    """Divergences are multiplied by T², as Hinton et al. 2015 advise; whether the paper did is not known."""
    features: Features = "none"
    feature_weight: float = 1.0
    """Weight of the distance between features, whatever α is."""

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            InputError: Says what.
        """
        for name, value, known in (
            ("reading", self.reading, get_args(Reading)),
            ("features", self.features, get_args(Features)),
        ):
            if value not in known:
                raise InputError(f"--{name} is one of {', '.join(known)}; asked was '{value}'.")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"A temperature is above 0; asked was {self.temperature:g}.")
        weights = (self.alpha, self.beta, self.feature_weight)
        if not all(0 <= weight < float("inf") for weight in weights) or self.alpha + self.beta <= 0:
            raise InputError("--alpha, --beta and --feature-weight are numbers of 0 or more, and not all of them 0.")

    @property
    def distillation(self) -> float:
        """Weight of what the teachers say."""
        return self.alpha if self.reading == "natural" else self.beta

    @property
    def student(self) -> float:
        """Weight of the student's own loss."""
        return self.beta if self.reading == "natural" else self.alpha


def loss_weights(
    options: DistilOptions,
    lessons: Lessons,
    representation: Representation,
    own: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Weight of each term that `DistilLosses` gives, as `training.fit` takes them.

    Args:
        options: How the student is taught.
        lessons: What it learns from.
        representation: Its own.
        own: Weights of its own terms, before β; the representation's where None.
    """
    weights = {f"distil_{lesson.name}": options.distillation for lesson in lessons.maps}
    if lessons.labels:
        weights |= {f"pseudo_{name}": options.distillation * w for name, w in representation.loss_weights.items()}
    if options.features != "none":
        weights["distil_features"] = options.feature_weight
    return weights | {name: options.student * weight for name, weight in (own or representation.loss_weights).items()}


def add_projection(model: Segmenter, teacher_width: int) -> None:
    """Give a student the 1 × 1 layer from its deepest features to the teacher's width; trained, and then dropped."""
    encoder: Any = model.encoder
    model.add_module(PROJECTION, nn.Conv2d(int(encoder.info.widths[-1]), teacher_width, 1))


def drop_projection(model: Segmenter) -> None:
    """Take it away again."""
    if hasattr(model, PROJECTION):
        delattr(model, PROJECTION)


class DistilLosses:
    """Loss terms of a batch, for `training.fit`.

    Args:
        model: The student; with its projection (`add_projection`) where features are learnt from.
        representation: Its own.
        lessons: What it learns from maps.
        options: How.
        wanted: Names of terms that are to be computed beside the representation's own.
    """

    def __init__(
        self,
        model: Segmenter,
        representation: Representation,
        lessons: Lessons,
        options: DistilOptions,
        wanted: Collection[str] = (),
    ) -> None:
        self.wanted = tuple(wanted)
        self.representation, self.lessons, self.options = representation, lessons, options
        self._projection = getattr(model, PROJECTION, None)
        self._seen: list[Tensor] = []
        if self._projection is not None:
            seen = self._seen

            def keep(module: nn.Module, _: object, features: Any) -> None:
                if module.training:  # and not the averaged copy, which validation runs
                    seen[:] = [features.pyramid[-1]]

            model.encoder.register_forward_hook(keep)

    def __call__(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms.

        `distil_` of each map, `distil_features`, `pseudo_` of each of the student's own against the teacher's labels,
        and its own against the true ones, which the first crops alone have.
        """
        assert isinstance(batch, DistilBatch)
        soft = _on(raw, batch.soft or {})
        own = raw_maps(raw, self.representation.maps)
        terms = {f"distil_{lesson.name}": self._map_term(lesson, own, soft) for lesson in self.lessons.maps}
        if batch.teacher_features is not None:
            terms["distil_features"] = self._feature_term(batch.teacher_features)
        if batch.pseudo is not None:
            everywhere = raw.new_ones(len(raw))
            found = self.representation.loss_terms(raw, _on(raw, batch.pseudo), everywhere)
            terms |= {f"pseudo_{name}": term for name, term in found.items()}
        labelled = len(batch.separable)
        separable = torch.from_numpy(batch.separable).to(raw.device)
        taught = None if batch.taught is None else torch.from_numpy(batch.taught).to(raw.device)
        return terms | loss_terms(
            self.representation,
            raw[:labelled],
            _on(raw, batch.maps),
            separable,
            wanted=self.wanted,
            taught=taught,
        )

    def _map_term(self, lesson: Lesson, own: Mapping[str, Tensor], soft: Mapping[str, Tensor]) -> Tensor:
        said, mine = soft[lesson.name], own[lesson.name]
        temperature, squared = self.options.temperature, self.options.squared
        if lesson.kind.name == FOREGROUND.name and mine.shape[1] == 2:
            mine = mine[:, 1:] - mine[:, :1]
        if lesson.groups is not None:
            return merged_divergence(mine, said, lesson.groups, temperature=temperature, squared=squared)
        if lesson.activation == "softmax":
            return softened_divergence(mine, said, temperature=temperature, squared=squared)
        if lesson.activation == "sigmoid":
            return softened_binary_divergence(mine, said, temperature=temperature, squared=squared)
        return weighted_squared_error(mine, said, _where_it_counts(lesson, self.lessons, soft))

    def _feature_term(self, features: NDArray[np.float32]) -> Tensor:
        assert self._projection is not None
        assert self.options.features != "none"
        mine = self._seen.pop()
        theirs = torch.from_numpy(features).to(mine.device)
        return feature_distance(self._projection(mine.float()), theirs, way=self.options.features)


def _where_it_counts(lesson: Lesson, lessons: Lessons, soft: Mapping[str, Tensor]) -> Tensor | None:
    """Weight of each pixel in a map that nobody taught the teacher outside nuclei: how surely one is there."""
    place = next((other for other in lessons.maps if other.name == lesson.kind.within), None)
    if place is None:
        return None
    said, background = soft[place.name], place.kind.background
    return said.sigmoid() if background is None else 1 - said.softmax(1)[:, background : background + 1]


def _on(raw: Tensor, maps: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array).to(raw.device) for name, array in maps.items()}
