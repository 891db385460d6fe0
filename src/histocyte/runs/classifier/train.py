"""From labelled cells to a classifier with its scores: draw, fit, stop early, score on images kept apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.names import counted
from histocyte.datasets.sample import Sample
from histocyte.datasets.splits import split_by_group
from histocyte.model.classifier import Head
from histocyte.runs.classifier.cells import LabelledCells
from histocyte.runs.classifier.scores import ClassifierScores, score_classifier

if TYPE_CHECKING:
    from histocyte.training.classifier import HeadOptions

__all__ = ["MOST_FREQUENT", "OWN", "TrainedClassifier", "images_to_stop_by", "train_classifier"]

OWN, MOST_FREQUENT = "model's own classes", "most frequent class"


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """What comes of a training.

    Attributes:
        head: The classifier's numbers.
        scores: On the held-out images.
        facts: How it was made: options, cells of each class, epochs, seconds.
    """

    head: Head
    scores: ClassifierScores
    facts: dict[str, Any]


def images_to_stop_by(samples: Sequence[Sample], *, fraction: float = 0.2, seed: int = 0) -> NDArray[np.bool_]:
    """Which images to learn from say when to stop: whole patients or slides of their own.

    None of them where a set has but one patient or slide left.
    """
    try:
        _, stopping = split_by_group(samples, fraction=fraction, seed=seed)
    except InputError:
        stopping = []
    chosen = {id(s) for s in stopping}
    return np.array([id(s) in chosen for s in samples], np.bool_)


def train_classifier(
    learnt: LabelledCells,
    stopping: NDArray[np.bool_],
    held_out: LabelledCells,
    class_names: Sequence[str],
    *,
    options: HeadOptions,
    own_names: Sequence[str] = (),
    cells: int | None = None,
    replicates: int = 1000,
    on_epoch: Callable[[int], None] | None = None,
) -> TrainedClassifier:
    """Fit a classifier to found cells of known class, and score it on others.

    Args:
        learnt: Cells to learn from.
        stopping: (I,) of their images, which say when to stop.
        held_out: Cells of other patients or slides, for the scores alone.
        class_names: K.
        options: Options of the head; its seed also draws the cells and the bootstrap.
        own_names: The model's own classes; where they are the same, it is scored beside the classifier.
        cells: Draw this many of the cells to learn from, all alike likely; all where None.
        replicates: Replicates of the bootstrap over patients or slides.
        on_epoch: Called after each epoch with its number.

    Raises:
        InputError: Fewer than two classes to learn, or no cell to score.
        MissingExtraError: torch is not installed.
    """
    began = time.perf_counter()
    drawn = _draw(learnt, cells, options.seed)
    stops = stopping[drawn.image]
    fitted, stop = drawn.take(~stops), drawn.take(stops)
    counts = np.bincount(fitted.types, minlength=len(class_names))
    if (counts > 0).sum() < 2:
        only = ", ".join(name for name, n in zip(class_names, counts, strict=True) if n) or "none"
        raise InputError(
            f"Of the classes {', '.join(class_names)} the model found {counted(len(fitted), 'labelled cell')} to "
            "learn from, of "
            f"{only}; two classes are needed. Label more cells, or look at what it finds: histocyte evaluate."
        )
    if not len(held_out):
        raise InputError("The model found no labelled cell on the held-out images; there is nothing to score.")
    from histocyte.training.classifier import fit_head

    found = fit_head(
        fitted.vectors,
        fitted.types,
        stop_vectors=stop.vectors,
        stop_types=stop.types,
        classes=len(class_names),
        options=options,
        on_epoch=on_epoch,
    )
    head = Head(found.mean, found.std, found.layers)
    seconds = time.perf_counter() - began
    ways = {"classifier": head.probabilities(held_out.vectors)}
    if tuple(own_names) == tuple(class_names):
        ways[OWN] = held_out.own
    frequent = np.eye(len(class_names), dtype=np.float32)[counts.argmax()]
    ways[MOST_FREQUENT] = np.tile(frequent, (len(held_out), 1))
    scores = score_classifier(held_out, ways, class_names, replicates=replicates, seed=options.seed)
    facts = {
        "options": options.facts(),
        "cells_fitted": dict(zip(class_names, counts.tolist(), strict=True)),
        "cells_to_stop_by": len(stop),
        "cells_drawn_of": None if cells is None else len(learnt),
        "images": len(np.unique(drawn.image)),
        "epochs": found.epochs,
        "best_epoch": found.best_epoch,
        "seconds_to_fit": round(seconds, 2),
    }
    return TrainedClassifier(head, scores, facts)


def _draw(cells: LabelledCells, count: int | None, seed: int) -> LabelledCells:
    if count is None or count >= len(cells):
        return cells
    chosen = np.zeros(len(cells), np.bool_)
    chosen[np.random.default_rng(seed).choice(len(cells), count, replace=False)] = True
    return cells.take(chosen)
