"""The images of a distillation: labelled ones, those held out, and those without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener
from histocyte.core.names import counted
from histocyte.core.taxonomies import readings
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.arrays import ArrayStore
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.folder import labelled_card, load_folder, refuse_external, refuse_twice
from histocyte.datasets.image_print import PrintIndex, image_print
from histocyte.datasets.own_classes import load_for_taxonomy
from histocyte.datasets.sample import Sample
from histocyte.datasets.unlabelled import UnlabelledImage, list_unlabelled
from histocyte.model.history import History
from histocyte.model.learnt_set import LearntSet
from histocyte.model.spec import ModelSpec
from histocyte.recipes.fitting import fitting_crop_px
from histocyte.slides.open import open_slide
from histocyte.training.crops import held_px
from histocyte.training.distil.fields import Field, image_field, labelled_field, slide_fields

__all__ = ["DistilData"]


@dataclass(slots=True)
class DistilData:
    """What a student learns from, and what it is scored on.

    Attributes:
        labelled: To learn from, with labels.
        extra: To learn from, without.
        training: The samples of `labelled`, as they were read.
        validation: Held out.
        left_out: Kept for a test of a teacher, and so of the student.
        prints: Prints of `extra`, by source and name.
        notes: What a reader of the scores has to know.
    """

    labelled: list[Field] = field(default_factory=list)
    extra: list[Field] = field(default_factory=list)
    training: list[Sample] = field(default_factory=list)
    validation: list[Sample] = field(default_factory=list)
    left_out: list[Sample] = field(default_factory=list)
    prints: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _kept: PrintIndex | None = field(default=None, init=False, repr=False)

    @classmethod
    def read(
        cls,
        folders: Sequence[Path],
        *,
        taxonomy: Taxonomy,
        teachers: Sequence[ModelSpec],
        fraction: float,
        seed: int,
        mpp: float | None,
        listener: Listener = SILENT,
    ) -> DistilData:
        """Labelled images, of which whole groups that no teacher has learnt from are held out.

        Args:
            folders: As for `histocyte train`.
            taxonomy: The student's classes.
            teachers: Their specs say what they have learnt from.
            fraction: Share of the groups to hold out of sets that are new to all teachers.
            seed: Seed of that choice.
            mpp: Resolution of images in sets that are not known by name, µm/px.
            listener: Told how far it is.

        Raises:
            InputError: No labelled images, a folder given twice, or a set that is never to be trained on.
        """
        refuse_external(folders)
        refuse_twice(folders)
        samples: list[Sample] = []
        store = ArrayStore()
        strange: list[str] = []
        for folder in folders:
            card = labelled_card(folder, mpp=mpp)
            if card.taxonomy is not None and not readings(card.taxonomy, taxonomy):
                strange.append(card.name)
                samples += load_folder(folder, taxonomy=taxonomy, mpp=mpp, card=card, store=store)
            else:
                samples += load_for_taxonomy([folder], taxonomy, mpp=mpp, store=store)
        past = History().after((t.name, t.history) for t in teachers)
        training, validation, left_out, notes = past.split(
            samples, fraction=fraction, seed=seed, lenient=True, listener=listener
        )
        notes += [doubt for t in teachers for doubt in t.history.doubts(t.name)]
        notes += [
            f"The classes of {name} are others than the student's: its labels teach outlines (--classes says which "
            "the student tells apart)."
            for name in strange
        ]
        if not any(s.separable for s in validation):
            raise InputError("None of the held-out images parts touching nuclei, so that none can be scored. Add some.")
        labelled = [labelled_field(s, least_um=0.0) for s in training]
        return cls(labelled, [], training, validation, left_out, notes=notes)

    def crop_px(self, spec: ModelSpec, wanted: int = 256) -> int:
        """Side of a crop that a student takes and nine in ten labelled images hold, `wanted` at most."""
        return fitting_crop_px(min(wanted, held_px(self.training, spec.mpp)), spec)

    def fill_up(self, *, least_um: float) -> None:
        """Fill up labelled images that are smaller than a crop of such a side."""
        self.labelled = [labelled_field(s, least_um=least_um) for s in self.training]

    def add_images(self, folders: Sequence[Path], *, least_um: float, mpp: float | None) -> list[UnlabelledImage]:
        """Images without labels, and which were added; those that are held out as labelled ones are left out here too.

        Raises:
            InputError: A folder that cannot be used (`datasets.unlabelled`).
        """
        kept = [*self.validation, *self.left_out]
        away = {(s.source, s.name) for s in kept}
        groups = {(s.source, s.group) for s in kept}
        added = []
        for folder in folders:
            for image in list_unlabelled(folder, mpp=mpp):
                card = DATASETS.get(image.source)
                group = (image.source, card.group(image.path.stem) if card else image.path.stem)
                known = (image.source, image.path.stem) in away or group in groups
                if not known and self._add(image_field(image, least_um=least_um)):
                    added.append(image)
        return added

    def add_slides(self, slides: Sequence[Path], *, mpp: float, count: int, seed: int, least_um: float) -> None:
        """Places of slides.

        Raises:
            SlideError: A slide cannot be read.
            InputError: There is no tissue on it.
        """
        for slide in slides:
            with open_slide(slide) as reader:
                self.notes += [f"'{slide}': {note}" for note in reader.notes]
            for each in slide_fields(slide, mpp=mpp, count=count, seed=seed, least_um=least_um):
                self._add(each)

    def _add(self, each: Field) -> bool:
        """Take an image with its print, unless it shows the same as one that is held out."""
        if self._kept is None:
            self._kept = PrintIndex([image_print(s.image, s.stated_mpp) for s in (*self.validation, *self.left_out)])
        image = each.read()
        if self._kept.find(image, each.mpp):
            return False
        self.extra.append(each)
        one, prints = image_print(image, each.mpp), self.prints.setdefault(each.source, {})
        prints[each.name] = " ".join(filter(None, [prints.get(each.name, ""), one.to_text() if one.tells else ""]))
        return True

    def sha256(self) -> str:
        """SHA-256 of all images that are learnt from or scored on, and of the labels."""
        digest = hashlib.sha256()
        for each in (*self.labelled, *self.extra):
            digest.update(f"{each.source} {each.name} {each.sha256} {each.mpp!r}\n".encode())
        for sample in (*self.training, *self.validation):
            digest.update(f"{sample.source} {sample.name}\n".encode() + sample.instances.tobytes())
            digest.update(b"" if sample.types is None else sample.types.tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        """One line for people."""
        extra = f", {len(self.extra)} without labels" if self.extra else ""
        return f"{counted(len(self.labelled), 'labelled image')} to learn from{extra}, {len(self.validation)} held out"

    def history(self, teachers: Sequence[ModelSpec]) -> History:
        """What the student has seen: its own images, those without labels, and all that its teachers have."""
        own = History.of(self.training, self.validation, self.left_out)
        extra = [
            LearntSet(
                name=source,
                licence=DATASETS[source].licence if source in DATASETS else "not stated",
                citation=DATASETS[source].citation if source in DATASETS else "own images, without labels",
                images=sum(f.source == source for f in self.extra),
                learnt=prints,
            )
            for source, prints in sorted(self.prints.items())
        ]
        return own.model_copy(update={"sets": (*own.sets, *extra)}).after((t.name, t.history) for t in teachers)
