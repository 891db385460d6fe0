"""Teaching a classifier as one call, for Python and for `histocyte train classifier`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from histocyte.core.listener import SILENT, Listener, Stop, Stopped, never
from histocyte.core.notebook import html_table
from histocyte.runs.arguments import FRACTION, POSITIVE, SEED, Limit, PathLike, check_limits, paths

if TYPE_CHECKING:
    from histocyte.runs.classifier.scores import ClassifierScores

__all__ = ["LIMITS", "TaughtClassifier", "teach_classifier"]

LIMITS: Mapping[str, Limit] = {
    "cells": Limit(2),
    "hidden": Limit(0, 65_536),
    "epochs": POSITIVE,
    "validation": FRACTION,
    "seed": SEED,
    "threads": POSITIVE,
}
"""Limits of the numbers that `teach_classifier` takes."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TaughtClassifier:
    """A classifier that is taught.

    Attributes:
        file: As `histocyte segment --classifier` takes it.
        record: What the file says of it, with its name and SHA-256.
        scores: On the held-out images.
        notes: What a reader of the scores has to know.
    """

    file: Path
    record: Mapping[str, Any]
    scores: ClassifierScores
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """The file and its classes."""
        classes = ", ".join(each["name"] for each in self.record["taxonomy"]["classes"])
        return f"<TaughtClassifier {self.file}: {classes}>"

    def _repr_html_(self) -> str:
        """The scores as a table, for notebooks."""
        return html_table(f"{self.file.name} on held-out images", *self.scores.table())


def teach_classifier(
    model: PathLike,
    data: PathLike | Iterable[PathLike],
    output: PathLike = "classifier.safetensors",
    *,
    classes: str | Sequence[str] | None = None,
    cells: int | None = None,
    hidden: int = 0,
    epochs: int = 50,
    validation: float = 0.2,
    seed: int = 0,
    mpp: float | None = None,
    cache: PathLike | None = None,
    tile_px: int | None = None,
    margin_px: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> TaughtClassifier:
    """Teach a model classes of one's own from a few hundred labelled cells; the model itself stays as it is.

    >>> from histocyte.runs.classifier.classifier import teach_classifier
    >>> taught = teach_classifier("hover-unet-consep", "data/mine", "mine.safetensors", mpp=0.25)   # doctest: +SKIP

    Args:
        model: Name of a bundled model, or a model file.
        data: One or more folders of labelled images with classes.
        output: File of the classifier.
        classes: Names of the classes 1, 2, …; those of the set or its classes.json where None.
        cells: Learn from this many cells, drawn at random; all where None.
        hidden: Width of a hidden layer; 0 is a linear classifier.
        epochs: At most.
        validation: Share of the patients or slides held out.
        seed: Seed of split, draw, first weights and intervals.
        mpp: Resolution of images of a set that is not known by name, µm/px.
        cache: Folder to keep found cells in.
        tile_px: Side of the squares that the model is given of an image, as for `load`.
        margin_px: Their margin, as for `load`.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        threads: Images at a time on a CPU; as many as processors where None.
        listener: Is told how it goes on; nobody where None.
        stop: Asked after each image and epoch whether to end there; never where None.

    Returns:
        The file, what it says, and its scores on the held-out images.

    Raises:
        InputError: Data or options that cannot be used, or a model that gives no vectors of cells.
        UnknownNameError: No such model.
        MissingExtraError: torch is not installed.
        DiskError: The file cannot be written.
        Stopped: `stop` said so; cells that were found are kept in `cache` alone.
    """
    given = {key: value for key, value in locals().items() if key in LIMITS}
    from histocyte.core.errors import InputError, require, require_installed
    from histocyte.files.writable import check_file, check_folder
    from histocyte.runs.labelled import check_labelled, say_notes, say_unpaired

    require_installed("torch", extra="torch")
    folders, file, kept = paths(data), Path(output), None if cache is None else Path(cache)
    told, asked = listener or SILENT, stop or never
    check_file(file, example="classifier.safetensors")
    check_folder(kept)
    check_limits(given, LIMITS)
    check_labelled(folders, mpp=mpp)
    require("torch", extra="torch")
    from histocyte.core.taxonomies import asked_list
    from histocyte.datasets.own_classes import load_with_own_classes
    from histocyte.inference.load import load
    from histocyte.runs.classifier.run import cells_of, write_classifier
    from histocyte.runs.classifier.train import images_to_stop_by, train_classifier
    from histocyte.training.classifier import HeadOptions

    began = time.perf_counter()
    names = asked_list(classes).names if isinstance(classes, str) else classes
    samples, taxonomy = load_with_own_classes(folders, names=names, mpp=mpp)
    say_unpaired(folders, told)
    say_notes(samples, told)
    usable = [s for s in samples if s.separable and s.types is not None and (s.types > 0).any()]
    if not usable:
        raise InputError(f"No image has cells with a class, of {len(samples):,}; NAME.npz needs an array 'type'.")
    loaded = load(str(model), runtime="torch", device=device, workers=threads, tile_px=tile_px, margin_px=margin_px)
    spec = loaded.spec
    parts = spec.history.split(usable, fraction=validation, seed=seed, listener=told)
    score, learn = [*parts.validation, *parts.left_out], parts.training
    learnt, held_out = cells_of(loaded, learn, score, kept, told, asked)
    with told.task("fitting", epochs, unit="epochs") as task:

        def after_epoch(_: object) -> None:
            task.advance()
            if asked():
                raise Stopped("The cells are found, and the classifier is still to be fitted")

        trained = train_classifier(
            learnt,
            images_to_stop_by(learn, seed=seed),
            held_out,
            taxonomy.names,
            options=HeadOptions(hidden=hidden, epochs=epochs, seed=seed),
            own_names=spec.classes.names,
            cells=cells,
            on_epoch=after_epoch,
        )
    facts = {
        **trained.facts,
        "tile_px": spec.tile_px,
        "margin_px": spec.margin_px,
        "seconds": round(time.perf_counter() - began, 1),
        "images_the_model_was_trained_on": len(learn) - len(spec.history.unseen(learn)),
    }
    record = write_classifier(file, loaded, taxonomy, learn, score, facts, trained)
    return TaughtClassifier(file, record, trained.scores, (*parts.notes, *spec.history.doubts(spec.name)))
