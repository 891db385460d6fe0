"""The images of a distillation: labelled ones, those held out, and those without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import readings
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.folder import labelled_card, load_folder, refuse_external, refuse_twice
from histocyte.datasets.own_classes import load_for_taxonomy
from histocyte.datasets.sample import Sample
from histocyte.datasets.splits import split_by_group
from histocyte.datasets.unlabelled import UnlabelledImage, list_unlabelled
from histocyte.model.spec import ModelSpec
from histocyte.recipes.training import fitting_crop_px
from histocyte.training.crops import held_px
from histocyte.training.distil_fields import Field, image_field, labelled_field, slide_fields

__all__ = ["DistilData", "split_for_teachers"]


@dataclass(slots=True)
class DistilData:
    """What a student learns from, and what it is scored on.

    Attributes:
        labelled: To learn from, with labels.
        extra: To learn from, without.
        training: The samples of `labelled`, as they were read.
        validation: Held out.
        notes: What a reader of the scores has to know.
    """

    labelled: list[Field] = field(default_factory=list)
    extra: list[Field] = field(default_factory=list)
    training: list[Sample] = field(default_factory=list)
    validation: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

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
    ) -> DistilData:
        """Labelled images, of which whole groups that no teacher has learnt from are held out.

        Args:
            folders: As for `histocyte train`.
            taxonomy: The student's classes.
            teachers: Their specs say what they have learnt from.
            fraction: Share of the groups to hold out of sets that are new to all teachers.
            seed: Of that choice.
            mpp: Of images of a set that is not known by name.

        Raises:
            InputError: No labelled images, a folder given twice, or a set that is never to be trained on.
        """
        refuse_external(folders)
        refuse_twice(folders)
        samples: list[Sample] = []
        strange: list[str] = []
        for folder in folders:
            card = labelled_card(folder, mpp=mpp)
            if card.taxonomy is not None and not readings(card.taxonomy, taxonomy):
                strange.append(card.name)
                samples += load_folder(folder, taxonomy=taxonomy, mpp=mpp, card=card)
            else:
                samples += load_for_taxonomy([folder], taxonomy, mpp=mpp)
        training, validation, notes = split_for_teachers(samples, teachers, fraction=fraction, seed=seed)
        notes += [
            f"The classes of {name} are others than the teacher's: its labels teach outlines." for name in strange
        ]
        if not any(s.separable for s in validation):
            raise InputError("None of the held-out images parts touching nuclei, so that none can be scored. Add some.")
        return cls([labelled_field(s, least_um=0.0) for s in training], [], training, validation, notes)

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
        away = {(s.source, s.name) for s in self.validation}
        groups = {(s.source, s.group) for s in self.validation}
        added = []
        for folder in folders:
            for image in list_unlabelled(folder, mpp=mpp):
                card = DATASETS.get(image.source)
                group = (image.source, card.group(image.path.stem) if card else image.path.stem)
                if (image.source, image.path.stem) not in away and group not in groups:
                    self.extra.append(image_field(image, least_um=least_um))
                    added.append(image)
        return added

    def add_slides(self, slides: Sequence[Path], *, mpp: float, count: int, seed: int, least_um: float) -> None:
        """Places of slides.

        Raises:
            SlideError: A slide cannot be read.
            InputError: There is no tissue on it.
        """
        for slide in slides:
            self.extra += slide_fields(slide, mpp=mpp, count=count, seed=seed, least_um=least_um)

    def sha256(self) -> str:
        """Of all images that are learnt from or scored on, and of the labels."""
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
        return f"{len(self.labelled)} labelled images to learn from{extra}, {len(self.validation)} held out"

    def facts(self, teachers: Sequence[ModelSpec]) -> tuple[dict[str, object], ...]:
        """The sets for the student's spec: its own, those without labels, and what its teachers have learnt from."""
        from histocyte.recipes.provenance import data_facts, facts_through

        facts = list(data_facts([*self.training, *self.validation]))
        for source in sorted({f.source for f in self.extra} - {str(f["name"]) for f in facts}):
            card = DATASETS.get(source)
            facts.append(
                {
                    "name": source,
                    "licence": card.licence if card else "not stated",
                    "citation": card.citation if card else "own images, without labels",
                    "images": sum(f.source == source for f in self.extra),
                    "nuclei": 0,
                }
            )
        return facts_through(facts, teachers)

    def held_out(self, teachers: Sequence[ModelSpec]) -> dict[str, list[str]]:
        """Names of held-out images by set: of the student's own sets, and of those that only teachers learnt from."""
        from histocyte.recipes.provenance import held_out_through, names_by_set

        own = {s.source for s in (*self.training, *self.validation)} | {f.source for f in self.extra}
        return held_out_through(names_by_set(self.validation), own, teachers)


def split_for_teachers(
    samples: Sequence[Sample], teachers: Sequence[ModelSpec], *, fraction: float, seed: int
) -> tuple[list[Sample], list[Sample], list[str]]:
    """Training and validation samples such that held-out ones are new to the student and, if possible, to its teachers.

    Of a set that teachers were trained on, what all of them held out is held out again, whatever fraction and seed; a
    teacher would otherwise be scored on what it has learnt by heart. Images of the same patients that a teacher saw are
    left out altogether.

    Args:
        samples: All.
        teachers: Their specs name the sets, and the images of these that they held out.
        fraction: Of the groups of any other set.
        seed: Likewise.

    Returns:
        Training and validation samples, and what a reader of the scores has to know.

    Raises:
        InputError: A set of a single group.
    """
    training: list[Sample] = []
    validation: list[Sample] = []
    notes: list[str] = []
    for source in sorted({s.source for s in samples}):
        mine = [s for s in samples if s.source == source]
        past = [t for t in teachers if source in {str(entry["name"]) for entry in t.data}]
        new = {s.name for s in mine}.intersection(*(_past(t).get(source, ()) for t in past))
        groups = {s.group for s in mine if s.name in new}
        if past and new and any(s.group not in groups for s in mine):
            validation += [s for s in mine if s.name in new]
            training += [s for s in mine if s.group not in groups]
            continue
        if past:
            names = ", ".join(t.name for t in past)
            notes.append(
                f"Of {source} no images are known that {names} did not learn from: it may score too well on those held "
                "out here."
            )
        seen, unseen = split_by_group(mine, fraction=fraction, seed=seed)
        training, validation = training + seen, validation + unseen
    return training, validation, notes


def _past(teacher: ModelSpec) -> Mapping[str, Sequence[str]]:
    found: Mapping[str, Sequence[str]] = teacher.training.get("held_out", {})
    return found
