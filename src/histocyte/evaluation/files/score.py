"""Score files of cells, whatever program wrote them, against files of true cells.

A found cell that shows nowhere, since others cover it wholly or it repeats another, is a false find all the same: a
repetition moved by a pixel would leave a sliver that counts as one. It has no pixels, so AJI and Dice do not see it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels, relabel_sequential
from histocyte.core.names import counted
from histocyte.evaluation.files.classes import ClassMap
from histocyte.evaluation.files.pairs import TrueImage
from histocyte.evaluation.image_scores import ClassScores, ImageScores, score_image
from histocyte.formats.foreign.contents import CellFile
from histocyte.metrics.panoptic import PanopticCounts
from histocyte.slides.picture import picture_size

__all__ = ["FileScores", "score_file"]

_SAME_MPP = 0.05
"""Slides of one scanner differ by some per cent from the round number that data sets state."""


@dataclass(frozen=True, slots=True, eq=False)
class FileScores:
    """What came of one image.

    Attributes:
        scores: Its scores.
        truth: True cells on the image; without pixels once they are not needed, see `light`.
        found: Found cells on the image, without classes where some have none.
        n_hidden: Found cells that show nowhere, counted as false finds.
        n_without_class: Found cells without class.
        n_outside: Found cells outside a crop.
        n_true_hidden: True cells that show nowhere; not scored.
        has_classes: Whether any found cell has a class.
        notes: On what else the files hold, in sentences.
    """

    scores: ImageScores
    truth: Labels
    found: Instances
    n_hidden: int
    n_without_class: int
    n_outside: int
    n_true_hidden: int
    has_classes: bool
    notes: tuple[str, ...] = ()

    def light(self) -> FileScores:
        """The same without label maps, to be kept for all images of a set."""
        nothing = np.zeros((0, 0), np.int32)
        found = Instances(nothing, np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
        return replace(self, truth=Labels(nothing), found=found)

    def to_json(self) -> dict[str, object]:
        """The numbers beside the scores."""
        return {
            "source": self.scores.info.source,
            "name": self.scores.info.name,
            "hidden": self.n_hidden,
            "without_class": self.n_without_class,
            "outside": self.n_outside,
            "truth_hidden": self.n_true_hidden,
            "notes": list(self.notes),
        }


def score_file(
    found: CellFile,
    image: TrueImage,
    classes: ClassMap,
    *,
    mpp: float | None = None,
    origin: tuple[int, int] | None = None,
) -> FileScores:
    """Score one image.

    A found cell without class counts for detection and outlines; for the scores of classes it is as if not found.

    Args:
        found: Found cells.
        image: The truth.
        classes: How classes of the file go into those of the truth; none to score without.
        mpp: µm per px of images of a set that is not known by name.
        origin: x, y of the truth's first pixel in the coordinates of the found cells, if it is a crop.

    Raises:
        InputError: Sizes, resolutions or classes do not fit, or are not known.
    """
    true = image.read()
    info = image.info(next((each for each in (mpp, true.mpp, found.mpp) if each is not None), None))
    if found.mpp is not None and not abs(found.mpp / info.mpp - 1) <= _SAME_MPP:
        raise InputError(
            f"'{found.path}' is at {found.mpp:g} µm/px, its truth '{image.path}' at {info.mpp:g}; they must agree."
        )
    shape = _shape(true, image, found, origin)
    labels, n_true_hidden = _truth(true, image, shape, classes.of_truth)
    if found.shapes.size not in (None, shape) and origin is None:
        raise InputError(
            f"'{found.path}' is {_px(found.shapes.size)}, its truth '{image.path}' {_px(shape)}. "
            "If the truth is a crop, say where it lies: --origin X,Y."
        )
    try:
        drawn = found.shapes.draw(shape, origin or (0, 0))
    except InputError as error:
        raise InputError(f"'{found.path}' and its truth '{image.path}': {error}") from error
    if len(drawn.outside) and origin is None:
        raise InputError(
            f"'{found.path}': {len(drawn.outside)} of {counted(len(found.shapes), 'cell lies', 'cells lie')} outside "
            f"the {_px(shape)} of the "
            f"truth '{image.path}'; both must be of the same image at the same resolution. "
            "If the truth is a crop, say where it lies: --origin X,Y."
        )
    of_found = classes.called(found) if classes.names else np.zeros(len(found.shapes), np.int64)
    probabilities, has_class = classes.probabilities(found, of_found), of_found > 0
    others = bool(classes.true_pairs)
    if others:  # what is of a class that is not compared has a class, and the wrong one
        probabilities, has_class = classes.with_others(found, probabilities, of_found), found.types > 0
    instances = _instances(drawn.labels, probabilities, found.scores)
    scores = score_image(labels, instances, info, n_classes=len(classes.names), others=others)
    here = np.setdiff1d(np.arange(len(found.shapes)), drawn.outside, assume_unique=True)
    unclassed = int((~has_class[here]).sum()) if classes.names else 0
    if scores.classes is not None and unclassed:
        with_class = np.where(np.concatenate([[False], has_class])[drawn.labels], drawn.labels, 0)
        known = _instances(with_class, probabilities, found.scores)
        only = score_image(labels, known, info, n_classes=len(classes.names), others=others).classes
        scores = replace(scores, classes=only)
        instances = replace(instances, class_probabilities=np.zeros((len(instances), 0), np.float32))
    scores = _with_false_finds(scores, of_found[drawn.hidden])
    return FileScores(
        scores=scores,
        truth=labels,
        found=instances,
        n_hidden=len(drawn.hidden),
        n_without_class=unclassed,
        n_outside=len(drawn.outside),
        n_true_hidden=n_true_hidden,
        has_classes=bool((of_found > 0).any()),
        notes=(*true.notes, *found.notes),
    )


def _shape(true: CellFile, image: TrueImage, found: CellFile, origin: tuple[int, int] | None) -> tuple[int, int]:
    own, picture = true.shapes.size, None if image.picture is None else picture_size(image.picture)
    if own is not None and picture is not None and own != picture:
        raise InputError(f"'{image.path}' is {_px(own)}, its image '{image.picture}' {_px(picture)}; they must agree.")
    shape = own or picture or (found.shapes.size if origin is None else None)
    if shape is None:
        raise InputError(
            f"'{image.path}' does not say how large its image is. Put the image beside it, as {image.name}.png."
        )
    return shape


def _truth(true: CellFile, image: TrueImage, shape: tuple[int, int], classes: ClassMap) -> tuple[Labels, int]:
    """The true cells, and how many of them show nowhere."""
    drawn = true.shapes.draw(shape)
    if len(drawn.outside):
        raise InputError(
            f"'{image.path}': {len(drawn.outside)} of {counted(len(true.shapes), 'true cell lies', 'true cells lie')} "
            "outside the image of "
            f"{_px(shape)}."
        )
    types = None
    if classes.names and (true.types.any() or not len(true.shapes)):
        types = np.concatenate([[0], classes.classes_of(true)]).astype(np.uint8)
    return Labels(drawn.labels, types), len(drawn.hidden)


def _instances(
    drawn: NDArray[np.int32], probabilities: NDArray[np.float32], scores: NDArray[np.float32] | None
) -> Instances:
    labels, old = relabel_sequential(drawn)
    kept = old[1:] - 1
    return Instances(labels, probabilities[kept], np.ones(len(kept), np.float32) if scores is None else scores[kept])


def _with_false_finds(scores: ImageScores, classes: NDArray[np.int64]) -> ImageScores:
    """The scores with more finds that hit nothing, of these classes (0 unknown)."""
    extra = len(classes)
    if not extra:
        return scores
    detection, most = scores.detection, scores.most_pairs
    of_classes = scores.classes
    return replace(
        scores,
        panoptic=scores.panoptic + PanopticCounts(0, extra, 0, 0.0),
        detection=replace(detection, fp=detection.fp + extra),
        most_pairs=replace(most, fp=most.fp + extra),
        classes=None if of_classes is None else _class_false_finds(of_classes, classes),
    )


def _class_false_finds(scores: ClassScores, classes: NDArray[np.int64]) -> ClassScores:
    extra = np.bincount(classes, minlength=len(scores.n_found) + 1)[1:]
    confusion = scores.confusion.copy()
    confusion[0, 1:] += extra
    return replace(
        scores,
        panoptic=tuple(c + PanopticCounts(0, int(n), 0, 0.0) for c, n in zip(scores.panoptic, extra, strict=True)),
        detection=tuple(
            replace(c, fp_unmatched=c.fp_unmatched + int(n)) for c, n in zip(scores.detection, extra, strict=True)
        ),
        n_found=scores.n_found + extra,
        confusion=confusion,
    )


def _px(shape: tuple[int, int] | None) -> str:
    return "of unknown size" if shape is None else f"{shape[1]:,} × {shape[0]:,} px"
