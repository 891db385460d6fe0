"""Star polygons: how deep each pixel lies in its nucleus, and how far the nucleus reaches from it in 32 directions.

Maps (C, H, W), after activation:
    nucleus       1      distance to the rim as a share of the deepest pixel's: 1 in the middle, 0 outside
    rays          32     distance to the rim along each ray, px; the first points right, the others follow clockwise
    types         K + 1  class probabilities, background first (absent for a model without classes)
    rays_initial  32     with `refined`, for training alone: the rays before CPP-Net refines them

Every pixel proposes the polygon of its rays' ends; of polygons that overlap, the one proposed from deepest inside stays
(Schmidt et al. 2018, StarDist, doi 10.1007/978-3-030-00934-2_30; Chen et al. 2023, CPP-Net, doi
10.1109/TIP.2023.3237013). Nuclei may touch and overlap, but each must be seen whole from one point within: arms that
bend away are cut off, or come out as nuclei of their own. And 32 corners do not follow every pixel of a rim, least so
at the ends of thin nuclei. So labels do not quite come back: from perfect maps the panoptic quality is .962 on CoNSeP,
.974 on MoNuSeg, .964 on TNBC and on NuInsSeg, .967 on PanNuke's breast, .928 on the smaller nuclei of CPM-15, nearly
all of what is missing lying along the rims (with `compat` .01 less).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histocyte.core.geometry import check_mpp
from histocyte.core.instances import Instances, Labels
from histocyte.core.maps import Maps, MapSpec
from histocyte.representations.maps.kinds import CLASSES, MapKind, Turn
from histocyte.representations.maps.raw_maps import raw_maps
from histocyte.representations.maps.types_map import types_map
from histocyte.representations.options import AreaPx, Classes, Share
from histocyte.representations.shared.vote import vote
from histocyte.representations.star.decode import separate_stars
from histocyte.representations.star.targets import RAYS, distance_probability, ray_distances

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Star"]

_AHEAD = (np.arange(RAYS) + RAYS // 4) % RAYS
_ACROSS = (RAYS // 2 - np.arange(RAYS)) % RAYS
_TURNS: tuple[Turn, Turn] = (lambda f: f[_AHEAD], lambda f: f[_ACROSS])
"""Which ray points the way of each, after a quarter turn and after a flip."""


@dataclass(frozen=True, slots=True)
class Star:
    """The star representation, both ways."""

    classes: Classes = 0
    """Number of cell classes K; 0 leaves out the types map."""
    refined: bool = False
    """Rays come in two versions, of which the first is learnt from too, as CPP-Net has them."""
    nucleus_threshold: Share = 0.5
    """Pixels above it propose a nucleus: the inner half, as published. A trained model may bring a better one."""
    max_overlap: Share = 0.5
    """Largest share of the smaller of two nuclei that may overlap; beyond it the less certain one is dropped, as
    published. The smaller one's share, not the union's: a polygon of half a nucleus inside that of the whole is a
    second
    proposal, not a second nucleus, and touches less than half of their union."""
    min_area_px: AreaPx = 10
    """Smaller is debris: 10 px is 0.6 µm² at 0.25 µm/px; the section of a lymphocyte's nucleus is near 400."""
    compat: bool = False
    """Write rays as StarDist and CellViT do, up to half a pixel off, and decode as they do: a nucleus counts however
    small it is, but not with its middle in the two outermost pixels of the field."""
    border_px: AreaPx = 2
    """Width of that border, as published; for `compat` alone."""

    @classmethod
    def at(cls, mpp: float, *, classes: int = 0, refined: bool = False, compat: bool = False) -> Star:
        """The representation for maps of another resolution, its constants scaled from 0.25 µm/px.

        Areas follow the square of the pixel's size; all else is a share, or published in pixels.

        Args:
            mpp: Resolution of the maps, µm/px.
            classes: Number of cell classes.
            refined: For a network that refines its rays.
            compat: Write and decode as published.

        Raises:
            ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.
        """
        zoom = 0.25 / check_mpp(mpp, what="the maps")
        return cls(classes, refined, min_area_px=max(1, math.ceil(cls().min_area_px * zoom**2)), compat=compat)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """What a network predicts for this representation, in channel order."""
        specs = [MapSpec("nucleus", 1, "sigmoid"), MapSpec("rays", RAYS, "relu")]
        if self.classes:
            specs.append(MapSpec("types", self.classes + 1, "softmax"))
        if self.refined:
            specs.append(MapSpec("rays_initial", RAYS, "relu", training_only=True))
        return tuple(specs)

    @property
    def kinds(self) -> Mapping[str, MapKind]:
        """What each map says, by its name."""
        rays = MapKind(f"rays {'as published' if self.compat else ''}".strip(), *_TURNS, within="nucleus")
        own = {"nucleus": MapKind("depth"), "rays": rays}
        return {**own, "types": CLASSES} if self.classes else own

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """The weights of CellViT's StarDist and CPP-Net models."""
        initial = {"rays_initial_l1": 1.0} if self.refined else {}
        types = {"types_ce": 0.5, "types_dice": 0.2, "types_focal_tversky": 0.5} if self.classes else {}
        return {"nucleus_bce": 1.0, "rays_l1": 1.0} | initial | types

    def encode(self, labels: Labels) -> Maps:
        """Write labels as target maps.

        Args:
            labels: The truth; types beyond K or 0 count as unknown. Pieces of one nucleus, as a crop leaves them, are
                written as nuclei of their own: no ray leads from one to another.

        Returns:
            nucleus (1, H, W), rays (32, H, W) and, with classes, types (K + 1, H, W) one-hot; a nucleus of unknown
            class is zero in every channel of types, which a loss reads as "do not learn here".
        """
        maps = {
            "nucleus": distance_probability(labels.instances)[None],
            "rays": ray_distances(labels.instances, published=self.compat),
        }
        return maps | {"types": types_map(labels, self.classes)} if self.classes else maps

    def decode(self, maps: Maps) -> Instances:
        """Read predicted maps back as nuclei.

        A nucleus is decided by its own rays and by those of surer ones that overlap it. Pixels with a value that is not
        a number propose none.

        Args:
            maps: nucleus, rays and, with classes, types, as `maps` has them, float32 or float16.

        Returns:
            Solid one-piece instances; class probabilities are the mean over a nucleus' pixels, its score is the
            distance probability where it was proposed from (its mean is not a probability: towards the rim it falls to
            0
            however sure the network is).
        """
        nucleus = maps["nucleus"][0]
        labels, scores = separate_stars(
            nucleus,
            maps["rays"],
            nucleus_threshold=self.nucleus_threshold,
            max_overlap=self.max_overlap,
            min_area_px=0 if self.compat else self.min_area_px,
            border_px=self.border_px if self.compat else 0,
        )
        voted = vote(labels, nucleus, maps["types"] if self.classes else None, majority=self.compat)
        return dataclasses.replace(voted, scores=np.clip(scores, 0.0, 1.0))

    def loss_terms(self, raw: Tensor, target: Mapping[str, Tensor], separable: Tensor) -> dict[str, Tensor]:
        """Unweighted loss terms by name (see `star_loss.star_loss_terms`).

        Args:
            raw: (B, C, H, W) raw channels of all maps, stacked in the order of `maps`.
            target: Target maps with a batch axis.
            separable: (B,) 0 where touching nuclei are not apart in the labels.
        """
        from histocyte.representations.star.loss import star_loss_terms

        return star_loss_terms(raw_maps(raw, self.maps), target, separable)
