"""A classifier from the cells that a model finds on labelled images to its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from histocyte.core.listener import SILENT, Listener, Stop, Stopped, never
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.version import __version__
from histocyte.datasets.sample import Sample
from histocyte.inference.load import Model
from histocyte.inference.runtime import features_of
from histocyte.model.classifier import ClassifierSpec, save_classifier
from histocyte.model.history import History
from histocyte.pipeline import instances_with_vectors
from histocyte.runs.classifier.cells import LabelledCells, collect_cells
from histocyte.runs.classifier.train import TrainedClassifier

__all__ = ["cells_of", "write_classifier"]


def cells_of(
    model: Model,
    learn: Sequence[Sample],
    score: Sequence[Sample],
    cache: Path | None,
    listener: Listener = SILENT,
    stop: Stop = never,
) -> tuple[LabelledCells, LabelledCells]:
    """Cells to learn from and cells to score, each with its vector and its true class.

    Args:
        model: That finds them.
        learn: Images to learn from.
        score: Images held out.
        cache: Folder that keeps what is found on each image.
        listener: Told how it goes on.
        stop: Looked at after each image.

    Raises:
        InputError: The model gives no vectors.
        Stopped: Told to.
    """
    runtime = model.runtime
    tiles = [model.spec.tile_px, model.spec.margin_px]
    facts = [2, __version__, model.sha256, features_of(runtime).name, runtime.device.split(" ")[0], tiles]
    folder = None if cache is None else cache / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    with listener.task("finding cells", len(learn) + len(score), unit="images") as task:

        def found(_: object) -> None:
            task.advance()
            if stop():
                raise Stopped("The cells of some images are still to be found")

        learnt, held_out = (
            collect_cells(
                lambda image, mpp: instances_with_vectors(image, model, mpp=mpp),
                samples,
                folder=folder,
                workers=runtime.parallel,
                on_image=found,
            )
            for samples in (learn, score)
        )
    return learnt, held_out


def write_classifier(
    out: Path,
    model: Model,
    taxonomy: Taxonomy,
    learn: Sequence[Sample],
    score: Sequence[Sample],
    facts: dict[str, Any],
    trained: TrainedClassifier,
) -> dict[str, Any]:
    """Write the file of a classifier; gives its facts with file name and SHA-256.

    Args:
        out: The file.
        model: Whose vectors it reads.
        taxonomy: Its classes.
        learn: Images it learnt from.
        score: Images held out.
        facts: What is to be known of the training.
        trained: Head and scores.

    Raises:
        DiskError: It cannot be written.
    """
    features = features_of(model.runtime)
    spec = ClassifierSpec(
        taxonomy=taxonomy.to_json(),
        model=model.spec.name,
        model_sha256=model.sha256,
        embedding=features.name,
        width=features.width,
        training=facts,
        history=History.of(learn, score),
        scores=trained.scores.to_json(),
    )
    written = save_classifier(out, spec, trained.head)
    return {"file": str(out), "sha256": written.sha256, **spec.model_dump()}
