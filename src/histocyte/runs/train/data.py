"""The labelled images of a training run: what it learns from, chooses by, and leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener
from histocyte.core.names import counted
from histocyte.datasets.data_check import PARTS
from histocyte.datasets.folder import refuse_external, refuse_twice
from histocyte.datasets.own_classes import load_to_learn, refuse_untaught
from histocyte.datasets.sample import Sample
from histocyte.model.history import History
from histocyte.runs.train.start import Start

__all__ = ["TrainingData"]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Images of a run, no patient or slide in two parts of them.

    Attributes:
        training: To learn from.
        validation: To choose weights by.
        left_out: For a test at the end.
        share: Share of the patients or slides held out.
        fold: Number of the part of them that is held out instead, and number of parts.
        left_out_names: As they were given.
        history: Their prints, as the model's file keeps them.
        notes: What a reader of the scores has to know.
        unused: In none of the parts: copies of held-out images, and what a model before has learnt from of patients or
            slides that are held out.
    """

    training: Sequence[Sample]
    validation: Sequence[Sample]
    left_out: Sequence[Sample] = ()
    share: float = 0.2
    fold: tuple[int, int] | None = None
    left_out_names: tuple[str, ...] = ()
    history: History = field(default_factory=History)
    notes: tuple[str, ...] = ()
    unused: Sequence[Sample] = ()

    @classmethod
    def read(
        cls,
        folders: Sequence[Path],
        beginning: Start,
        *,
        share: float,
        seed: int,
        mpp: float | None,
        fold: tuple[int, int] | None = None,
        held_out: Sequence[Path] = (),
        left_out: Sequence[str] = (),
        listener: Listener = SILENT,
    ) -> TrainingData:
        """Read folders and hold out whole groups: a share of them, or one fold; of what is not left out altogether.

        Args:
            folders: Folders of labelled images.
            beginning: The model it goes on from, if any, has seen some of them.
            share: Share of the patients or slides of each set.
            seed: Seed of the choice.
            mpp: Resolution of images in sets that are not known by name, µm/px.
            fold: In place of the share.
            held_out: Folders whose images are held out in place of a share, with what is of the same patients.
            left_out: Names of images (`datasets.name_list`).
            listener: Told how far it is.

        Raises:
            InputError: A folder without labelled images, one whose data is never to be trained on, or images to leave
                out that there are not.
        """
        refuse_external([*folders, *held_out])
        refuse_twice([*folders, *held_out])
        samples = load_to_learn(folders, beginning.spec.classes, mpp=mpp, listener=listener)
        held = load_to_learn(held_out, beginning.spec.classes, mpp=mpp, listener=listener)
        samples += held
        if beginning.model is None:
            refuse_untaught(samples, beginning.spec.classes)
        past = beginning.history
        rest, apart = past.leave_out(samples, left_out, listener=listener)
        if not rest:
            raise InputError("Every image is to be left out, so none is left to learn from. Shorten the list.")
        training, validation, _, notes = past.split(
            rest, fraction=share, seed=seed, fold=fold, held_out=held, apart=apart, listener=listener
        )
        notes += [doubt for model in beginning.before for doubt in model.history.doubts(model.name)]
        history = History.of(training, validation, apart)
        used = {id(s) for part in (training, validation, apart) for s in part}
        unused = [s for s in samples if id(s) not in used]
        return cls(training, validation, apart, share, fold, tuple(left_out), history, tuple(notes), unused)

    @property
    def parts(self) -> Mapping[str, Sequence[Sample]]:
        """Images by part, as `datasets.data_check` names them."""
        return dict(zip(PARTS, (self.training, self.validation, self.left_out, self.unused), strict=True))

    def describe(self) -> str:
        """One line for people."""
        apart = f", {len(self.left_out)} left out for a test" if self.left_out else ""
        return f"{counted(len(self.training), 'image')} to train on, {len(self.validation)} held out{apart}."

    def describe_classes(self, names: Sequence[str]) -> str:
        """What there is to learn classes from; one line for people.

        Args:
            names: Names of the model's classes.
        """
        if not names:
            return "No folder tells cells of different classes apart: the model will find and outline cells."
        if any(s.areas for s in self.training):
            return f"Tissue to learn: {', '.join(names)}."
        counts = sum((s.class_counts(len(names)) for s in self.training), start=np.zeros(len(names), np.int64))
        said = ", ".join(f"{n:,} {name}" for name, n in zip(names, counts, strict=True))
        several = sum(int((s.one_of[1:].sum(1) > 1).sum()) for s in self.training if s.one_of is not None)
        more = f", and {several:,} that may be of several classes" if several else ""
        return f"Cells to learn classes from: {said}{more}."

    @property
    def images(self) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """Names with prints, by set, of each part, as data.json keeps them."""
        parts: dict[str, dict[str, Mapping[str, str]]] = {"learnt": {}, "held_out": {}, "left_out": {}}
        for entry in self.history.sets:
            for part, sets in parts.items():
                if found := getattr(entry, part):
                    sets[entry.name] = found
        return parts
