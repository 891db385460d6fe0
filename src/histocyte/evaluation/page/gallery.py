"""The places where a model did worst, kept while images are scored so that a report can show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.instances import Instances, Labels, relabel_sequential
from histocyte.core.labels import instance_statistics
from histocyte.evaluation.image_scores import ImageInfo, ImageScores
from histocyte.evaluation.page.mistakes import Mistake, Mistakes, find_mistakes

__all__ = ["MEASURE", "WINDOW_UM", "Gallery", "Side", "Tile"]

WINDOW_UM = 64.0
"""Side of a tile: 256 px at 0.25 µm/px, some fifty nuclei, each still large enough to judge its outline."""

MEASURE = (
    "Of each image, the window of 64 µm with most mistakes (missed, false, merged, split, poorly outlined or of the "
    "wrong class); of each data set, the images where that window has most."
)
"""What makes a tile one of the worst, for readers."""

_STEPS = 4
"""Windows start at every quarter of their side."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The nuclei of a tile as one side has them.

    Attributes:
        labels: (h, w) int32, 0 background, 1..N.
        types: (N + 1,) class of each, from 1, 0 unknown; None without classes.
        mistakes: (N + 1,) `Mistake` on each.
    """

    labels: NDArray[np.int32]
    types: NDArray[np.int64] | None
    mistakes: NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A window of an image with what is wrong in it.

    Attributes:
        info: The image.
        x: Left edge in the image, px.
        y: Upper edge, px.
        image: (h, w, 3) uint8 RGB, or None.
        truth: True nuclei.
        found: Found nuclei.
        n_truth: True nuclei whose centroid lies within.
        counts: Number of each mistake whose nucleus' centroid lies within.
    """

    info: ImageInfo
    x: int
    y: int
    image: NDArray[np.uint8] | None
    truth: Side
    found: Side
    n_truth: int
    counts: Mapping[Mistake, int]

    @property
    def n_mistakes(self) -> int:
        """All mistakes, whatever their kind."""
        return sum(self.counts.values())


class Gallery:
    """Keeps the worst tiles seen so far, one of an image, and nothing else of the images."""

    def __init__(self, worst: int = 12) -> None:
        """Prepare for at most `worst` tiles (of each data set, until it is known how many sets there are).

        Raises:
            InputError: Less than one tile.
        """
        if worst < 1:
            raise InputError(f"A gallery shows at least 1 tile, not {worst}.")
        self._worst = worst
        self._kept: dict[str, list[Tile]] = {}

    def add(self, image: NDArray[np.uint8] | None, truth: Labels, found: Instances, scores: ImageScores) -> None:
        """See an image; its worst window is kept if it is among the worst of its data set.

        Args:
            image: (H, W, 3) uint8 RGB; None if only label maps are at hand.
            truth: True nuclei on (H, W).
            found: Found nuclei on the same pixels.
            scores: The image's scores.

        Raises:
            InputError: Truth and result differ in shape.
        """
        mistakes = find_mistakes(truth, found)
        kept = self._kept.setdefault(scores.info.source, [])
        points, kinds = _places(truth.instances, found.labels, mistakes)
        if len(kinds) == 0:
            return
        side_px = max(1, round(WINDOW_UM / scores.info.mpp))
        x, y, count = _worst_window(points, truth.instances.shape, side_px)
        if len(kept) == self._worst and count <= kept[-1].n_mistakes:
            return
        kept.append(_cut(image, truth, found, mistakes, scores.info, (x, y, side_px)))
        kept.sort(key=lambda tile: -tile.n_mistakes)  # stable: of two equals the first seen stands first
        del kept[self._worst :]

    def tiles(self) -> list[Tile]:
        """The worst tiles, each data set having its fair share of places; the worst of a set first."""
        left, shares = self._worst, dict.fromkeys(self._kept, 0)
        while left and (open_ := [s for s, kept in self._kept.items() if shares[s] < len(kept)]):
            for source in open_[:left]:
                shares[source] += 1
            left -= min(left, len(open_))
        return [tile for source, share in shares.items() for tile in self._kept[source][:share]]


def _places(
    truth: NDArray[np.int32], found: NDArray[np.int32], mistakes: Mistakes
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """(M, 2) centroid x, y and (M,) kind of every mistake."""
    points, kinds = [], []
    for labels, of_id in ((truth, mistakes.truth), (found, mistakes.found)):
        small, old = relabel_sequential(labels)
        wrong = of_id[old][1:] > 0
        points.append(instance_statistics(small)[1][wrong])
        kinds.append(of_id[old][1:][wrong])
    return np.concatenate(points), np.concatenate(kinds)


def _worst_window(points: NDArray[np.float64], shape: tuple[int, ...], side_px: int) -> tuple[int, int, int]:
    """x, y of the window with most points, and their number."""
    starts = [np.unique(np.minimum(np.arange(0, n, max(1, side_px // _STEPS)), max(0, n - side_px))) for n in shape[:2]]
    inside = [
        ((start[:, None] <= p) & (p < start[:, None] + side_px)).astype(np.int64)
        for start, p in zip(starts, (points[:, 1], points[:, 0]), strict=True)
    ]
    counts = inside[0] @ inside[1].T
    row, column = np.unravel_index(int(counts.argmax()), counts.shape)
    return int(starts[1][column]), int(starts[0][row]), int(counts[row, column])


def _cut(
    image: NDArray[np.uint8] | None,
    truth: Labels,
    found: Instances,
    mistakes: Mistakes,
    info: ImageInfo,
    window: tuple[int, int, int],
) -> Tile:
    x, y, side = window
    place = (slice(y, y + side), slice(x, x + side))
    points, kinds = _places(truth.instances, found.labels, mistakes)
    within = kinds[((points >= (x, y)) & (points < (x + side, y + side))).all(axis=1)]
    true_points = instance_statistics(relabel_sequential(truth.instances)[0])[1]
    n_truth = int(((true_points >= (x, y)) & (true_points < (x + side, y + side))).all(axis=1).sum())
    found_types = None
    if found.class_probabilities.shape[1]:
        found_types = np.concatenate([[0], found.class_probabilities.argmax(axis=1) + 1])
    return Tile(
        info,
        x,
        y,
        None if image is None else image[place].copy(),
        _side(truth.instances[place], truth.types, mistakes.truth),
        _side(found.labels[place], found_types, mistakes.found),
        n_truth,
        {kind: int((within == kind).sum()) for kind in Mistake if kind and (within == kind).any()},
    )


def _side(labels: NDArray[np.int32], types: NDArray[np.integer] | None, mistakes: NDArray[np.int8]) -> Side:
    small, old = relabel_sequential(labels)
    return Side(small, None if types is None else np.asarray(types, np.int64)[old], mistakes[old])
