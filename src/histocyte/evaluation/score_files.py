"""Score files of cells, whatever program wrote them, against files of true cells.

A found cell that shows nowhere, since others cover it wholly or it repeats another, is a false find all the same: a
repetition moved by a pixel would leave a sliver that counts as one. It has no pixels, so AJI and Dice do not see it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels, relabel_sequential
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.cell_files.contents import CellFile
from histocyte.datasets.cell_files.open import find_cells, open_cells
from histocyte.datasets.folder import card_for
from histocyte.datasets.image_table import IMAGE_SUFFIXES, ImageTable
from histocyte.evaluation.class_mapping import ClassMap, names_in
from histocyte.evaluation.image_scores import ClassScores, ImageInfo, ImageScores, score_image
from histocyte.metrics.panoptic import PanopticCounts

__all__ = ["FileScores", "TrueImage", "class_names_of", "pair_files", "read_picture", "score_file", "true_images"]

_SAME_MPP = 0.05
"""Slides of one scanner differ by some per cent from the round number that data sets state."""


@dataclass(frozen=True, slots=True)
class TrueImage:
    """A file of true cells and what is known of its image.

    Attributes:
        name: Name of the image.
        path: The cells.
        picture: The image beside them, if there is one.
        card: What is known of the data set, if it is known by name.
        folder: Where it lies.
        group: Patient or case as the folder's images.csv has it; empty where it does not say.
        tissue: Likewise.
    """

    name: str
    path: Path
    picture: Path | None
    card: DatasetCard | None
    folder: Path
    group: str = ""
    tissue: str = ""

    def read(self) -> CellFile:
        """The cells.

        Raises:
            InputError: The file is broken.
        """
        return open_cells(self.path, names=None if self.card is None else dict(enumerate(self.card.classes, 1)))

    def info(self, mpp: float | None) -> ImageInfo:
        """Name, source, group, resolution and tissue.

        Raises:
            InputError: The resolution is not known.
        """
        card = card_for(self.folder, mpp=mpp)
        group, resolution = self.group or card.group(self.name), card.mpp_by_image.get(self.name, card.mpp)
        return ImageInfo(self.name, card.name, group, resolution, self.tissue)


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
    """

    scores: ImageScores
    truth: Labels
    found: Instances
    n_hidden: int
    n_without_class: int
    n_outside: int
    n_true_hidden: int
    has_classes: bool

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
        }


def true_images(truth: Path) -> list[TrueImage]:
    """The images of a folder or file of true cells.

    Raises:
        InputError: There are none, or the folder's images.csv is broken.
    """
    images = []
    folder = truth if truth.is_dir() else truth.parent
    card, table = DATASETS.get(folder.resolve().name), ImageTable.read(folder)
    for name, path in find_cells(truth).items():
        pictures = [path.parent / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
        picture = next((p for p in pictures if p != path and p.is_file()), None)
        images.append(TrueImage(name, path, picture, card, folder, table.group(name), table.tissue(name)))
    return images


def pair_files(predictions: Path, images: Sequence[TrueImage], truth: Path) -> list[Path]:
    """The file of found cells of each image, by name; one file goes with one file whatever their names.

    Raises:
        InputError: An image has none.
    """
    found = find_cells(predictions)
    if len(found) == len(images) == 1 and not (predictions.is_dir() and truth.is_dir()):
        return list(found.values())
    missing = [image.name for image in images if image.name not in found]
    if missing:
        raise InputError(
            f"'{predictions}' has no file for {len(missing)} of {len(images)} images: {', '.join(missing[:5])}. "
            f"It has {', '.join(list(found)[:5])}. Names must agree; where nothing was found, an empty file is needed."
        )
    return [found[image.name] for image in images]


def class_names_of(images: Sequence[TrueImage]) -> tuple[str, ...]:
    """The classes of all true cells, in the order of their codes where files have codes; empty if there are none.

    Raises:
        InputError: A file is broken.
    """
    names: dict[str, str] = {}
    for image in images:
        cells = image.read()
        if cells.types.any():
            for name in names_in(cells):
                names.setdefault(name.lower(), name)
    return tuple(names.values())


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
    info = image.info(mpp or true.mpp or found.mpp)
    if found.mpp is not None and not abs(found.mpp / info.mpp - 1) <= _SAME_MPP:
        raise InputError(
            f"'{found.path}' is at {found.mpp:g} µm/px, its truth '{image.path}' at {info.mpp:g}; they must agree."
        )
    shape = _shape(true, image, found, origin)
    labels, n_true_hidden = _truth(true, image, shape, classes.names)
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
            f"'{found.path}': {len(drawn.outside)} of {len(found.shapes)} cells lie outside the {_px(shape)} of the "
            f"truth '{image.path}'; both must be of the same image at the same resolution. "
            "If the truth is a crop, say where it lies: --origin X,Y."
        )
    of_found = classes.classes_of(found) if classes.names else np.zeros(len(found.shapes), np.int64)
    probabilities = classes.probabilities(found, of_found)
    instances = _instances(drawn.labels, probabilities, found.scores)
    scores = score_image(labels, instances, info, n_classes=len(classes.names))
    here = np.setdiff1d(np.arange(len(found.shapes)), drawn.outside, assume_unique=True)
    unclassed = int((of_found[here] == 0).sum()) if classes.names else 0
    if scores.classes is not None and unclassed:
        with_class = np.where(np.concatenate([[False], of_found > 0])[drawn.labels], drawn.labels, 0)
        known = _instances(with_class, probabilities, found.scores)
        only = score_image(labels, known, info, n_classes=len(classes.names)).classes
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
    )


def _shape(true: CellFile, image: TrueImage, found: CellFile, origin: tuple[int, int] | None) -> tuple[int, int]:
    own, picture = true.shapes.size, None if image.picture is None else _picture_size(image.picture)
    if own is not None and picture is not None and own != picture:
        raise InputError(f"'{image.path}' is {_px(own)}, its image '{image.picture}' {_px(picture)}; they must agree.")
    shape = own or picture or (found.shapes.size if origin is None else None)
    if shape is None:
        raise InputError(
            f"'{image.path}' does not say how large its image is. Put the image beside it, as {image.name}.png."
        )
    return shape


def _truth(true: CellFile, image: TrueImage, shape: tuple[int, int], names: tuple[str, ...]) -> tuple[Labels, int]:
    """The true cells, and how many of them show nowhere."""
    drawn = true.shapes.draw(shape)
    if len(drawn.outside):
        raise InputError(
            f"'{image.path}': {len(drawn.outside)} of {len(true.shapes)} true cells lie outside the image of "
            f"{_px(shape)}."
        )
    types = None
    if names and (true.types.any() or not len(true.shapes)):
        types = np.concatenate([[0], ClassMap(names, {}).classes_of(true)]).astype(np.uint8)
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


def _picture_size(path: Path) -> tuple[int, int]:
    """H, W without reading the pixels."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return picture.height, picture.width
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"'{path}' cannot be read as an image ({error}).") from error


def read_picture(path: Path | None) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 RGB of an image, None if there is none or it cannot be read."""
    pixels = None if path is None else cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if pixels is None else np.ascontiguousarray(pixels[..., ::-1])


def _px(shape: tuple[int, int] | None) -> str:
    return "of unknown size" if shape is None else f"{shape[1]:,} × {shape[0]:,} px"
