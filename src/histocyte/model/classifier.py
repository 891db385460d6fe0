"""A class list of one's own on a fixed model: a small head that reads classes off the vectors of cells.

As in CellViT++ (Hörst et al. 2026, doi 10.1016/j.cmpb.2025.109206): the model finds and outlines the cells, its
encoder gives each a vector (`inference.embed`), and a linear map or one with a hidden layer turns that into the
probabilities of any list of classes. The file is numpy alone; `training.classifier` makes what is in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as tensors_in
from safetensors.numpy import save as packed

from histocyte.core.errors import HistocyteError, InputError, ModelError, reason_of
from histocyte.core.plain_text import plain
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.version import __version__
from histocyte.files.atomic import write_atomically
from histocyte.files.kind import but_is
from histocyte.files.safetensors_header import safetensors_metadata
from histocyte.model.checkpoint import SPEC_KEY
from histocyte.model.features import FeatureInfo
from histocyte.model.history import History

__all__ = ["CLASSIFIER_KEY", "CellClassifier", "ClassifierSpec", "Head", "load_classifier", "save_classifier"]

CLASSIFIER_KEY = "histocyte_classifier"
"""Key of the spec's JSON in the metadata of the file."""


class ClassifierSpec(BaseModel):
    """Everything about a classifier but its numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    taxonomy: Mapping[str, Any]
    """`Taxonomy.to_json()`."""
    model: str
    """Name of the model whose cells it classifies."""
    model_sha256: str
    """SHA-256 of that model's file."""
    embedding: str
    """Which vectors, `FeatureInfo.name`."""
    width: int = Field(ge=1, le=2**20)
    """Width of the vectors, D."""
    training: Mapping[str, Any] = Field(default_factory=dict)
    """How it was trained: cells, options, seconds."""
    history: History = Field(default_factory=History)
    """What it has learnt from and held out; its model's history is that model's own."""
    scores: Mapping[str, Any] = Field(default_factory=dict)
    """What was measured on held-out images."""
    histocyte: str = __version__

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: object) -> object:
        """Files of earlier versions kept names of sets and images under `training`."""
        training = value.get("training") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(training, Mapping) or "data" not in training:
            return value
        rest = {key: v for key, v in training.items() if key not in ("data", "held_out")}
        return {**value, "training": rest, "history": History.of_earlier(training["data"], training)}


@dataclass(frozen=True, eq=False)
class Head:
    """Standardises vectors and maps them to one number a class, in one step or with a hidden layer.

    Attributes:
        mean: (D,) subtracted from the vectors.
        std: (D,) that they are then divided by, above 0.
        layers: Weights (out, in) and biases (out,); between two layers what is below 0 is cut off (ReLU).
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    def probabilities(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, K) probabilities of the classes, from (N, D) vectors; each row sums to 1."""
        values = (np.asarray(vectors, np.float32) - self.mean) / self.std
        for number, (weight, bias) in enumerate(self.layers):
            values = (np.maximum(values, 0) if number else values) @ weight.T + bias
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(values / values.sum(axis=1, keepdims=True), np.float32)


@dataclass(frozen=True, eq=False, repr=False)
class CellClassifier:
    """A head with what it is for.

    Attributes:
        spec: All about it.
        head: Its numbers.
        sha256: SHA-256 of the file, for the record.
        where: The file as messages name it.
    """

    spec: ClassifierSpec
    head: Head
    sha256: str
    where: str

    def __repr__(self) -> str:
        """What it tells, and of which model's cells."""
        classes = ", ".join(self.taxonomy.names)
        text = f"<CellClassifier '{self.where}': {classes}, for cells of '{self.spec.model}'>"
        return plain(text, one_line=True)

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes it tells."""
        return Taxonomy.from_json(self.spec.taxonomy)

    def probabilities(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """See `Head.probabilities`."""
        return self.head.probabilities(vectors)

    def check_fits(self, model: str, model_sha256: str, features: FeatureInfo) -> None:
        """Refuse a model that the classifier was not made for: other cells' vectors would get classes at random.

        Raises:
            InputError: Another model, or other vectors of it.
        """
        made = f"'{self.where}' was made for the model '{self.spec.model}' (SHA-256 {self.spec.model_sha256[:12]}…"
        way_out = f"Pass --model {self.spec.model}, or make one for '{model}': histocyte train classifier."
        if model_sha256 != self.spec.model_sha256:
            raise InputError(f"{made}), and this is '{model}' ({model_sha256[:12]}…). {way_out}")
        if (features.name, features.width) != (self.spec.embedding, self.spec.width):
            raise InputError(
                f"{made}; vectors '{self.spec.embedding}'), and its vectors here are '{features.name}'. Make it again "
                "with this version: histocyte train classifier."
            )


def save_classifier(path: str | Path, spec: ClassifierSpec, head: Head) -> CellClassifier:
    """Write a classifier file, whole or not at all.

    Raises:
        DiskError: The file cannot be written.
    """
    path = Path(path)
    tensors = {"mean": head.mean, "std": head.std}
    for number, (weight, bias) in enumerate(head.layers):
        tensors |= {f"layers.{number}.weight": weight, f"layers.{number}.bias": bias}
    tensors = {name: np.ascontiguousarray(values, np.float32) for name, values in tensors.items()}
    content = packed(tensors, metadata={CLASSIFIER_KEY: spec.model_dump_json()})
    with write_atomically(path) as file:
        file.write(content)
    return CellClassifier(spec, head, hashlib.sha256(content).hexdigest(), str(path))


def load_classifier(path: str | Path) -> CellClassifier:
    """Read what `save_classifier` wrote; needs no torch.

    Raises:
        InputError: No such file.
        ModelError: A damaged file, or another kind of file.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"The classifier '{path}' cannot be read ({reason}). Make one with: histocyte train classifier."
        ) from error
    try:
        metadata = safetensors_metadata(path)
    except (ValueError, OSError):
        metadata = {}
    if CLASSIFIER_KEY not in metadata:
        if SPEC_KEY in metadata:
            raise ModelError(f"'{path}' is not a classifier of histocyte. It is a model: pass it as the model.")
        raise ModelError(
            f"'{path}' is not a classifier of histocyte{but_is(path)}. Make one with: histocyte train classifier."
        )
    try:
        spec = ClassifierSpec.model_validate_json(metadata[CLASSIFIER_KEY])
        head = _head(tensors_in(content), spec, len(Taxonomy.from_json(spec.taxonomy)))
    except (SafetensorError, HistocyteError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ModelError(
            f"The classifier '{path}' is damaged ({reason_of(error)}). Make it again: histocyte train classifier."
        ) from error
    return CellClassifier(spec, head, hashlib.sha256(content).hexdigest(), str(path))


def _head(tensors: Mapping[str, NDArray[Any]], spec: ClassifierSpec, classes: int) -> Head:
    """The head of a file's tensors.

    Raises:
        ValueError: They do not fit each other or the spec.
        KeyError: One is missing.
    """
    count = (len(tensors) - 2) // 2
    layers = tuple((tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]) for i in range(count))
    head = Head(tensors["mean"], tensors["std"], layers)
    if len(tensors) != 2 + 2 * count or not layers:
        raise ValueError(f"{len(tensors)} arrays")
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in tensors.values()):
        raise ValueError("not all of its numbers are numbers")
    widths = [spec.width, *(weight.shape[0] for weight, _ in layers)]
    fits = head.mean.shape == head.std.shape == (spec.width,) and (head.std > 0).all() and widths[-1] == classes > 0
    for (wide, out), (weight, bias) in zip(pairwise(widths), layers, strict=True):
        fits = fits and weight.shape == (out, wide) and bias.shape == (out,)
    if not fits:
        raise ValueError("its arrays do not fit each other")
    return head
