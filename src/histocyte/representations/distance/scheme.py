"""Distances across cells in four directions, and where cells touch: CISCA's maps, both ways.

Maps (C, H, W), after activation:
    semantic  3      probabilities of contour between touching cells, body of a cell, background
    distance  4      how far across its cell a pixel lies, -1 to 1: to the right, down, and along either diagonal
    types     K + 1  class probabilities, background first (absent for a model without classes)

Within a cell every distance rises steadily; where two cells touch, some of them drop from 1 to -1, and that drop is
what parts them (Vadori et al., CISCA and CytoDArk0, arXiv 2409.04175).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.core.instances import Instances, Labels
from histocyte.core.maps import Maps, MapSpec
from histocyte.representations.distance.contour import CONTOURS, full_semantic_map
from histocyte.representations.distance.decode import cell_probability, separate
from histocyte.representations.distance.decode_published import PUBLISHED, separate_as_published
from histocyte.representations.distance.targets import BACKGROUND, distance_map, semantic_map
from histocyte.representations.maps.kinds import CLASSES, MapKind
from histocyte.representations.maps.raw_maps import raw_maps
from histocyte.representations.maps.types_map import types_map
from histocyte.representations.options import AreaPx, Classes, LengthPx, Share, Weight
from histocyte.representations.shared.vote import vote

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Distance"]

_DISTANCE = MapKind(
    "distance",
    # Right, down, from the top left, from the bottom left.
    quarter=lambda f: np.stack([f[1], -f[0], -f[3], f[2]]),
    mirror=lambda f: np.stack([-f[0], f[1], -f[3], -f[2]]),
    within="semantic",
)


@dataclass(frozen=True, slots=True)
class Distance:
    """The distance representation, both ways."""

    classes: Classes = 0
    """Number of cell classes K; 0 leaves out the types map."""
    contour_px: LengthPx = 2.0
    """A pixel of a cell is contour where another cell lies this near, at 0.25 µm/px: as published, a diamond of radius
    2 there and a square of 3 at 0.5."""
    contour: Literal["simplified", "full"] = "simplified"
    """What is written as contour: by `contour_px` alone, or by CISCA's full rule with its repairs, in one of the two
    published sets of constants (see `distance_contour`)."""
    cell_threshold: Share = 0.5
    """Where cell and background are equally likely; a trained model may bring a better one."""
    min_area_px: AreaPx = 10
    """Smaller is debris: 10 px is 0.6 µm² at 0.25 µm/px; the section of a lymphocyte's nucleus is near 400."""
    seam_drop: Weight = 0.035
    """Fall of a distance per px that parts two cells. Across a seam it is 0.1 and more even where the network blurs it
    over ten pixels; within a cell the distances rise, by 2 / diameter, and only noise makes them fall."""
    smoothing_px: LengthPx = 0.8
    """Gaussian sigma over which that fall is averaged, at 0.25 µm/px: more hides the seams of small cells, less lets
    the network's noise cut large ones."""
    contour_weight: Weight = 0.5
    """Fall per px that a certain contour counts as: half a sharp seam's, so that where both are seen, the distances say
    where exactly the seam runs, and where they are blurred, the contour still parts."""
    class_weights: tuple[Weight, ...] = ()
    """Weight of each channel of the types map in its cross-entropy, background first, as from the classes' shares of
    the training data; all alike where empty."""
    compat: bool = False
    """Decode as CISCA does, for comparison and for models tuned with it: small cells are lost, and a cell depends on
    what else is in the field."""
    magnification: Literal[20, 40] = 40
    """Which of the published sets of constants, with `compat` and for the full rule of contours: 40 for 0.25 µm/px, 20
    for 0.5."""
    compat_min_area_px: AreaPx = 0
    """With `compat`, smaller cells vanish; 0 for what the magnification says, 80 or 24. Published are also 26 for
    CoNIC, 50 for PanNuke."""

    def __post_init__(self) -> None:
        if self.magnification not in PUBLISHED:
            raise InputError(f"Constants are published for magnifications 20 and 40, asked was {self.magnification}.")
        if self.contour not in ("simplified", "full"):
            raise InputError(
                f"Contours are written by the 'simplified' or the 'full' rule, asked was '{self.contour}'."
            )

    @classmethod
    def at(
        cls,
        mpp: float,
        *,
        classes: int = 0,
        contour: Literal["simplified", "full"] = "simplified",
        compat: bool = False,
    ) -> Distance:
        """The representation for maps of another resolution, its constants scaled from 0.25 µm/px.

        Lengths follow the pixel's size and areas its square; a contour keeps at least the eight neighbours. A seam is a
        few pixels wide at any resolution, so its drop per pixel stays. What is published for two resolutions is taken
        from the nearer one.

        Args:
            mpp: Resolution of the maps, µm/px.
            classes: Number of cell classes.
            contour: Rule by which contours are written.
            compat: Decode as published.

        Raises:
            ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.
        """
        zoom = 0.25 / check_mpp(mpp, what="the maps")
        fine = cls()
        return cls(
            classes,
            contour_px=max(math.sqrt(2.0), fine.contour_px * zoom),
            contour=contour,
            min_area_px=max(1, math.ceil(fine.min_area_px * zoom**2)),
            smoothing_px=fine.smoothing_px * zoom,
            compat=compat,
            magnification=40 if zoom > math.sqrt(0.5) else 20,
        )

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """What a network predicts for this representation, in channel order."""
        shape = (MapSpec("semantic", 3, "softmax"), MapSpec("distance", 4, "linear"))
        return (*shape, MapSpec("types", self.classes + 1, "softmax")) if self.classes else shape

    @property
    def kinds(self) -> Mapping[str, MapKind]:
        """What each map says, by its name."""
        rule = f"semantic {self.contour} {self.contour_px:g}"
        own = {"semantic": MapKind(rule, background=BACKGROUND), "distance": _DISTANCE}
        return {**own, "types": CLASSES} if self.classes else own

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """CISCA's weights, as published, for models with and without classes; they sum to 1 over its six (five) terms.

        Its loss of the types is one term of two parts, which share that term's weight.
        """
        weights = {"semantic_ce": 2.0, "contour_dice": 1.0, "body_dice": 2.0, "distance_mae": 2.0, "distance_msge": 2.0}
        types = {"types_ce": 5.0, "types_tversky": 5.0} if self.classes else {}
        total = sum(weights.values()) + (5.0 if self.classes else 0.0)
        return {name: weight / total for name, weight in (weights | types).items()}

    def encode(self, labels: Labels) -> Maps:
        """Write labels as target maps.

        Args:
            labels: The truth; types beyond K or 0 count as unknown.

        Returns:
            semantic (3, H, W) one-hot, distance (4, H, W) and, with classes, types (K + 1, H, W) one-hot; a cell of
            unknown class is zero in every channel of types, which a loss reads as "do not learn here".
        """
        instances = labels.instances
        if self.contour == "full":
            semantic = full_semantic_map(instances, CONTOURS[self.magnification])
        else:
            semantic = semantic_map(instances, self.contour_px)
        maps = {"semantic": semantic, "distance": distance_map(instances)}
        if self.classes:
            maps["types"] = types_map(labels, self.classes)
        return maps

    def decode(self, maps: Maps) -> Instances:
        """Read predicted maps back as cells.

        A cell is decided by the maps within some tens of pixels, whatever else is in the field and wherever that is
        cut (not with `compat`). Values that are not a number count as background or do not count.

        Args:
            maps: semantic, distance and, with classes, types, as `maps` has them, float32 or float16.

        Returns:
            Solid one-piece instances; class probabilities are the mean over a cell's pixels, its score is the mean
            probability of contour and body together.
        """
        semantic, distance = maps["semantic"], maps["distance"]
        if self.compat:
            labels = separate_as_published(
                np.asarray(semantic, np.float32),
                np.asarray(distance, np.float32),
                PUBLISHED[self.magnification],
                min_area_px=self.compat_min_area_px or None,
            )
        else:
            labels = separate(
                semantic,
                distance,
                cell_threshold=self.cell_threshold,
                seam_drop=self.seam_drop,
                smoothing_px=self.smoothing_px,
                contour_weight=self.contour_weight,
                min_area_px=self.min_area_px,
            )
        return vote(labels, cell_probability(semantic), maps["types"] if self.classes else None)

    def loss_terms(self, raw: Tensor, target: Mapping[str, Tensor], separable: Tensor) -> dict[str, Tensor]:
        """Unweighted loss terms by name (see `distance_loss.distance_loss_terms`).

        Args:
            raw: (B, C, H, W) raw channels of all maps, stacked in the order of `maps`.
            target: Target maps with a batch axis.
            separable: (B,) 0 where touching cells are not apart in the labels.
        """
        from histocyte.representations.distance.loss import distance_loss_terms

        return distance_loss_terms(raw_maps(raw, self.maps), target, separable, class_weights=self.class_weights)
