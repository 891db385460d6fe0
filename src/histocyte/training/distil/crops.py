"""Batches for a student: crops with their labels and with what its teachers say of the same place.

Image, labels and maps are cut out of the same square and turned alike; stain, light and sharpness vary in the image
alone, which the teachers saw as it is. As everywhere, sample i of step n is decided by (seed, n, i).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import Labels
from histocyte.core.maps import MapSpec, decoded_maps
from histocyte.core.taxonomies import readings
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.augment.steps import Augmentation
from histocyte.datasets.sample import IGNORED
from histocyte.model.build import build_representation
from histocyte.model.spec import ModelSpec
from histocyte.representations.maps.kinds import turned, turned_field
from histocyte.representations.maps.logits import activated, to_logits
from histocyte.training.crops import Batch, prepared_ahead
from histocyte.training.distil.cache import Answers, Teacher, TeacherCache
from histocyte.training.distil.fields import Field
from histocyte.training.distil.lessons import Lesson, Lessons
from histocyte.training.distil.windows import Window, cut, cut_nearest, whole

__all__ = ["DistilBatch", "DistilSampler"]


@dataclass(frozen=True, slots=True)
class DistilBatch(Batch):
    """A batch, labelled crops first: `maps` and `separable` are of these n alone, all else of all B.

    Attributes:
        soft: What the teachers say, by the student's map: (B, C, H, W) logits (`representations.kinds`).
        pseudo: Maps of the first teacher's labels as the student writes them, (B, C, H, W); None where not learnt from.
        teacher_features: (B, D, g, g) of the first teacher's encoder; None where not learnt from.
    """

    soft: Mapping[str, NDArray[np.float32]] | None = None
    pseudo: Mapping[str, NDArray[np.float32]] | None = None
    teacher_features: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class _Crop:
    image: NDArray[np.uint8]
    labels: Labels | None
    separable: bool
    taught: NDArray[np.bool_]
    soft: dict[str, NDArray[np.float32]]
    pseudo: Labels | None
    features: NDArray[np.float32] | None


class DistilSampler:
    """Draws batches.

    Args:
        student: Whose resolution and maps they are for.
        lessons: What is learnt from maps, and whether from the teacher's labels.
        teachers: As the lessons number them.
        cache: Filled with what they say of all fields.
        labelled: Fields with labels, one or more.
        extra: Fields without.
        colour: Variation of crops that leaves every pixel in its place.
        share: Share of crops without labels in a batch, where there are such fields; one crop at least has labels.
        crop_px: Side of a crop.
        feature_grid: Side of the grid that features are compared on; 0 for no features.
        weights: Share of the labelled crops by data set, 1 where not named.
        seed: Seed of everything random.

    Raises:
        InputError: No labelled field, or one that is smaller than a crop.
    """

    def __init__(
        self,
        student: ModelSpec,
        lessons: Lessons,
        teachers: Sequence[Teacher],
        cache: TeacherCache,
        labelled: Sequence[Field],
        extra: Sequence[Field] = (),
        *,
        colour: Augmentation,
        share: float = 0.5,
        crop_px: int = 256,
        feature_grid: int = 0,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        if not labelled:
            raise InputError("There is no labelled image to train on; images without labels come beside such.")
        for each in (*labelled, *extra):
            if min(each.frame(student.mpp)) < crop_px:
                raise InputError(f"'{each.name}' of {each.source} is smaller than a crop of {crop_px} px.")
        self.student, self.lessons, self.teachers, self.cache = student, lessons, teachers, cache
        self.representation = build_representation(student.representation)
        self.labelled, self.extra, self.colour, self.share = labelled, extra, colour, share
        self.crop_px, self.feature_grid, self.seed = crop_px, feature_grid, seed
        self._shares = _shares(labelled, weights or {}), _shares(extra, {})
        self._read = _as_own(teachers[0].spec.classes, student.classes)

    def batches(self, start: int, stop: int, size: int) -> Iterator[DistilBatch]:
        """The batches of steps start … stop - 1, two prepared ahead in a thread of their own."""
        return prepared_ahead(lambda step: self.batch(step, size), start, stop)  # type: ignore[return-value]

    def batch(self, step: int, size: int) -> DistilBatch:
        """The batch of a step."""
        without = min(size - 1, round(size * self.share)) if self.extra else 0
        crops = [self._crop(np.random.default_rng([self.seed, step, i]), i < size - without) for i in range(size)]
        labelled = crops[: size - without]
        maps = [self.representation.encode(crop.labels) for crop in labelled if crop.labels is not None]
        pseudo = [self.representation.encode(crop.pseudo) for crop in crops if crop.pseudo is not None]
        features = [crop.features for crop in crops if crop.features is not None]
        names = [spec.name for spec in decoded_maps(self.representation.maps)]
        taught = np.stack([crop.taught for crop in labelled])
        return DistilBatch(
            np.stack([crop.image.transpose(2, 0, 1) for crop in crops]).astype(np.float32),
            {name: np.stack([m[name] for m in maps]) for name in names},
            np.array([crop.separable for crop in labelled], np.float32),
            taught=None if taught.all() else taught,
            soft={lesson.name: np.stack([crop.soft[lesson.name] for crop in crops]) for lesson in self.lessons.maps},
            pseudo={name: np.stack([m[name] for m in pseudo]) for name in names} if pseudo else None,
            teacher_features=np.stack(features) if features else None,
        )

    def _crop(self, rng: np.random.Generator, with_labels: bool) -> _Crop:
        fields, shares = (self.labelled, self._shares[0]) if with_labels else (self.extra, self._shares[1])
        field = fields[int(rng.choice(len(fields), p=shares))]
        height, width = field.frame(self.student.mpp)
        zoom = float(np.exp(rng.uniform(*np.log(self.lessons.zoom))))
        # Never wider than the field, which holds a crop at least: then it is zoomed out less.
        side = min(round(self.crop_px / zoom), height, width)
        window = Window(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))

        on_image = window.at(self.student.mpp / field.mpp)
        pixels = cut(whole(field.read().transpose(2, 0, 1)), field.size, on_image, self.crop_px)
        image = turned_field(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), turns, flip).transpose(1, 2, 0)
        labels, separable, taught = None, True, np.ones(image.shape[:2], bool)
        if with_labels and field.sample is not None:
            marked = cut_nearest(whole(field.sample.marked), field.size, on_image, self.crop_px)
            instances = _turned_labels(marked, turns, flip)
            labels, taught = field.sample.labels_of(np.maximum(instances, 0)), instances != IGNORED
            separable = field.sample.separable
        answers = [self.cache.read(teacher, field) for teacher in self.teachers]
        soft = self._soft(answers, window, turns, flip)
        pseudo = self._pseudo(answers[0], window, turns, flip) if self.lessons.labels else None
        features = self._features(answers[0], window, turns, flip) if self.feature_grid else None
        nothing = np.zeros(image.shape[:2], np.int32)
        varied, _ = self.colour(np.ascontiguousarray(image), nothing, rng)
        return _Crop(varied, labels, separable, taught, soft, pseudo, features)

    def _soft(
        self, answers: Sequence[Answers], window: Window, turns: int, flip: bool
    ) -> dict[str, NDArray[np.float32]]:
        """What the teachers say of each map, at the student's resolution and turned."""
        wanted = {number for lesson in self.lessons.maps for number in lesson.teachers}
        said = {
            i: answers[i].fields_by_kind(window.at(self.student.mpp / self.teachers[i].spec.mpp), self.crop_px)
            for i in wanted
        }
        found = {}
        for lesson in self.lessons.maps:
            mean = _mean(lesson, [said[i][lesson.kind.name] for i in lesson.teachers])
            mean = mean if lesson.kind.scale == 1 else mean * np.float32(lesson.kind.scale)
            found[lesson.name] = turned(mean, lesson.kind, turns, flip)
        return found

    def _pseudo(self, answers: Answers, window: Window, turns: int, flip: bool) -> Labels:
        """The first teacher's nuclei, its classes read as the student's."""
        there = window.at(self.student.mpp / self.teachers[0].spec.mpp)
        instances, types = answers.labels(there, self.crop_px)
        turned_instances = _turned_labels(instances, turns, flip)
        if not self._read.shape[1]:
            return Labels(turned_instances)
        may_be = self._read[types]
        single = may_be.sum(axis=1) == 1
        own = np.where(single, may_be.argmax(axis=1) + 1, 0).astype(np.uint8)
        return Labels(turned_instances, own, may_be if (may_be.sum(axis=1) > 1).any() else None)

    def _features(self, answers: Answers, window: Window, turns: int, flip: bool) -> NDArray[np.float32]:
        there = window.at(self.student.mpp / self.teachers[0].spec.mpp)
        return np.ascontiguousarray(turned_field(answers.features(there, self.feature_grid), turns, flip))


def _as_own(theirs: Taxonomy, own: Taxonomy) -> NDArray[np.bool_]:
    """(T + 1, K) what each class of a teacher, from 1, may be of the student's (`core.taxonomies.readings`)."""
    may_be = np.zeros((len(theirs) + 1, len(own) if len(theirs) else 0), np.bool_)
    read = readings(theirs, own)
    for number, name in enumerate(theirs.names, 1):
        for one in read.get(name, ()):
            may_be[number, own.names.index(one)] = True
    return may_be


def _turned_labels(instances: NDArray[np.int32], turns: int, flip: bool) -> NDArray[np.int32]:
    return np.ascontiguousarray(turned_field(instances, turns, flip), np.int32)


def _mean(lesson: Lesson, fields: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The teachers' mean: of probabilities, not of their logarithms, so that one that is sure does not outvote two."""
    if len(fields) == 1:
        return fields[0]
    specs = (MapSpec(lesson.name, len(fields[0]), lesson.activation),)
    return to_logits(np.mean([activated(field, specs) for field in fields], axis=0), specs)


def _shares(fields: Sequence[Field], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Probability of each field: sources by weight, within a source by area."""
    areas = np.array([field.area_um2 for field in fields])
    sources = np.array([field.source for field in fields])
    shares = np.zeros(len(fields))
    for source in np.unique(sources):
        mine = sources == source
        shares[mine] = areas[mine] / areas[mine].sum() * weights.get(str(source), 1.0 if weights else areas[mine].sum())
    return shares / shares.sum() if len(shares) else shares
