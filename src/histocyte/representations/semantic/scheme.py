"""A class for each pixel: tissue regions, or nuclei where it does not matter that touching ones come apart.

Maps (C, H, W), after activation:
    types  K + 1  class probabilities, background first (K where every pixel belongs to a class)

There is nothing in these maps that parts objects: those of one class that touch come back as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.core.instances import Instances, Labels
from histocyte.core.labels import clean_instances, fill_instances
from histocyte.core.maps import Maps, MapSpec
from histocyte.representations.maps.kinds import CLASSES, MapKind
from histocyte.representations.maps.types_map import types_map
from histocyte.representations.options import AreaPx, Classes
from histocyte.representations.shared.vote import vote
from histocyte.representations.shared.watershed import without_small

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Semantic"]


@dataclass(frozen=True, slots=True)
class Semantic:
    """The semantic representation, both ways."""

    classes: Classes
    """Number of classes K, of tissue or of cells, at least 1."""
    background: bool = True
    """Whether what is in no region is a class of its own. If not, pixels without a label teach nothing, and every pixel
    is predicted as one of the K classes."""
    min_area_px: AreaPx = 10
    """Smaller is debris: 10 px is 0.6 µm² at 0.25 µm/px."""

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise InputError(
                f"The semantic representation tells classes apart; it was given {self.classes}. For nuclei without "
                "classes use 'hover', 'distance' or 'star', or one class that is all of them."
            )

    @classmethod
    def at(cls, mpp: float, *, classes: int, background: bool = True) -> Semantic:
        """The representation for maps of another resolution, its constants scaled from 0.25 µm/px.

        Args:
            mpp: Resolution of the maps, µm/px.
            classes: Number of classes.
            background: Whether what is in no region is a class of its own.

        Raises:
            ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.
        """
        zoom = 0.25 / check_mpp(mpp, what="the maps")
        return cls(classes, background, max(1, math.ceil(cls(classes).min_area_px * zoom**2)))

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """What a network predicts for this representation."""
        return (MapSpec("types", self.classes + self.background, "softmax"),)

    @property
    def kinds(self) -> Mapping[str, MapKind]:
        """What each map says, by its name."""
        return {"types": CLASSES if self.background else MapKind("regions")}

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Cross-entropy, which is exact about each pixel, and Dice, which gives rare classes their share, alike."""
        return {"types_ce": 1.0, "types_dice": 1.0}

    def encode(self, labels: Labels) -> Maps:
        """Write labels as target maps.

        Args:
            labels: The truth: a region or nucleus is an instance with its type; types beyond K or 0 count as unknown.

        Returns:
            types (K + 1 or K, H, W) one-hot. A pixel is zero in every channel, which a loss reads as "do not learn
            here", where its instance's class is unknown, where it has no label and there is no background, and
            everywhere if the labels have no types.
        """
        if labels.types is None:
            return {"types": np.zeros((self.classes + self.background, *labels.instances.shape), np.float32)}
        onehot = types_map(labels, self.classes)
        return {"types": onehot if self.background else np.ascontiguousarray(onehot[1:])}

    def decode(self, maps: Maps) -> Instances:
        """Read a predicted map back as regions: connected pixels of the same most likely class.

        Background that a region encloses, such as a gland's lumen, becomes part of it. Where it encloses a region of
        another class, it is cut into parts that do not, because an instance has no holes. Values that are not a number
        count as 0.

        Args:
            maps: types, as `maps` has it, float32 or float16.

        Returns:
            Solid one-piece instances; class probabilities are the mean over a region's pixels, its score is the mean
            probability of not being background, or without background that of the likeliest class.
        """
        types = np.nan_to_num(np.asarray(maps["types"], np.float32), posinf=0.0, neginf=0.0)
        if not self.background:
            types = np.concatenate([np.zeros_like(types[:1]), types])
        winner = types[1:].argmax(0) + 1
        score = types[1:].max(0)
        if self.background:
            winner[types[0] >= score] = 0
            score = 1 - types[0]
        labels = np.zeros(winner.shape, np.int32)
        for kind in range(1, self.classes + 1):
            pieces = without_small((winner == kind).astype(np.uint8), self.min_area_px)
            labels += np.where(pieces > 0, pieces + labels.max(initial=0), 0).astype(np.int32)
        return vote(clean_instances(_opened(labels)), score, types)

    def loss_terms(self, raw: Tensor, target: Mapping[str, Tensor], separable: Tensor) -> dict[str, Tensor]:
        """Unweighted loss terms by name: types_ce and types_dice, over the pixels whose class is known.

        Args:
            raw: (B, C, H, W) raw channels.
            target: Target maps with a batch axis.
            separable: Not used: where touching objects part does not matter here.
        """
        from histocyte.losses.pixel import cross_entropy
        from histocyte.losses.region import dice

        truth = target["types"]
        known = truth.sum(1, keepdim=True)
        said = raw.softmax(1)
        return {"types_ce": cross_entropy(said, truth, known), "types_dice": dice(said, truth, known, smooth=1.0)}


def _opened(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """(H, W) the instances, those that enclose others cut into parts, left and right of one of these, until none does.

    Each cut goes through the middle one of what is enclosed, so that many of them take few rounds.
    """
    labels = labels.copy()
    while True:
        enclosed = _enclosed_by(labels)
        if not enclosed:
            return labels
        boxes = _boxes(labels)
        for outer, inner in enclosed.items():
            centres = sorted((boxes[i][2] + boxes[i][3]) // 2 for i in inner)
            _cut(labels, outer, boxes[outer], centres[len(centres) // 2])


def _enclosed_by(labels: NDArray[np.int32]) -> dict[int, list[int]]:
    """What each instance that encloses others would take in if it were filled."""
    filled = fill_instances(labels)
    pairs = np.unique(np.stack([filled[labels > 0], labels[labels > 0]]), axis=1)
    shared = np.flatnonzero(np.bincount(pairs[0]) > 1)
    if not len(shared):
        return {}
    boxes = _boxes(labels)
    found = {}
    for new in shared:
        old = [int(i) for i in pairs[1, pairs[0] == new]]
        outer = max(old, key=lambda i: (boxes[i][1] - boxes[i][0]) * (boxes[i][3] - boxes[i][2]))
        found[outer] = [i for i in old if i != outer]
    return found


def _boxes(labels: NDArray[np.int32]) -> dict[int, tuple[int, int, int, int]]:
    """First and last row (exclusive), first and last column (exclusive) of each id."""
    from scipy import ndimage

    found = ndimage.find_objects(labels)
    return {i: (b[0].start, b[0].stop, b[1].start, b[1].stop) for i, b in enumerate(found, 1) if b is not None}


def _cut(labels: NDArray[np.int32], label: int, box: tuple[int, int, int, int], column: int) -> None:
    """Give the pieces of an instance left of a column, and those right of it, ids of their own."""
    top, bottom, left, right = box
    mine = labels[top:bottom, left:right] == label
    for side in (slice(0, column - left), slice(column - left, None)):
        _, pieces = cv2.connectedComponents(mine[:, side].astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
        there = labels[top:bottom, left:right][:, side]
        there[mine[:, side]] = np.asarray(pieces, np.int32)[mine[:, side]] + int(labels.max())
