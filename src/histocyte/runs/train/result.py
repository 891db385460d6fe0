"""The model file at the end of a training run: what it says of itself, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from histocyte.core.listener import Listener
from histocyte.model.checkpoint import save_model
from histocyte.model.delta import FOLDER_VARIABLE
from histocyte.model.licences import bound_by, licence_of, not_for_commerce
from histocyte.model.spec import ModelSpec
from histocyte.runs.train.data import TrainingData
from histocyte.runs.train.start import Start

__all__ = ["finished_spec", "write_result"]


def finished_spec(
    spec: ModelSpec, beginning: Start, data: TrainingData, *, scores: Mapping[str, Any], how: Mapping[str, object]
) -> ModelSpec:
    """The spec of a model that is trained, with its data, licence and scores.

    Args:
        spec: Spec of the network.
        beginning: What it began with; what that had seen, this one has.
        data: What it learnt from.
        scores: On held-out images, by set.
        how: It was trained.
    """
    history = data.history.after((model.name, model.history) for model in beginning.before)
    spec = spec.with_changes(
        history=history.model_copy(update={"bound_by": bound_by(spec, beginning.before)}),
        metrics=scores,
        training={**how, **beginning.record},
    )
    origin = beginning.named.get("name", spec.recipe)
    # Description and licence of a model that it goes on from may not hold any more.
    return spec.with_changes(
        description=f"{origin}, trained on {', '.join(sorted(data.images['learnt']))}.",
        licence=licence_of(spec),
    )


def write_result(
    path: Path, spec: ModelSpec, weights: Mapping[str, Tensor], *, delta: bool, listener: Listener
) -> None:
    """Write the model file and say what to do with it, and what not.

    Args:
        path: Path of the file.
        spec: As `finished_spec` gives it.
        weights: All, or what was trained alone.
        delta: Whether it is that.
        listener: Who is told.

    Raises:
        DiskError: It cannot be written.
    """
    save_model(path, spec, weights)
    command = "tissue" if spec.of_tissue else "segment"
    listener.say(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB). Next: histocyte {command} SLIDE --model {path}")
    if restricted := not_for_commerce(spec):
        listener.say(f"Not for commercial use, as what it learnt from is not: {', '.join(restricted)}.")
    if delta and spec.encoder_weights is not None:
        listener.say(
            f"It does not hold the encoder's published weights: keep {spec.encoder_weights.file} beside it, or in the "
            f"folder that {FOLDER_VARIABLE} names."
        )
