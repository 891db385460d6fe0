"""HoVer: where nuclei are, and how far each pixel lies from its nucleus' centre, across and down.

Maps (C, H, W), after activation:
    nucleus  1      probability of lying in any nucleus (or 2: of background, of nucleus)
    hover    2      signed distance to the centre of mass, x then y, each side scaled to [-1, 1]
    types    K + 1  class probabilities, background first (absent for a model without classes)

Inside a nucleus the distances rise slowly from -1 to 1; across the seam between two touching nuclei they
drop from 1 to -1, and that jump is what parts them (Graham et al. 2019, HoVer-Net, doi 10.1016/j.media.2019.101563).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from histocyte.core.geometry import check_mpp
from histocyte.core.instances import Instances, Labels
from histocyte.core.maps import Activation, Maps, MapSpec
from histocyte.representations.hover.decode import separate, separate_as_published
from histocyte.representations.hover.targets import hover_map
from histocyte.representations.maps.kinds import CLASSES, FOREGROUND, MapKind, pair
from histocyte.representations.maps.raw_maps import raw_maps
from histocyte.representations.maps.types_map import types_map
from histocyte.representations.options import AreaPx, Classes, KernelPx, LengthPx, Share, Weight
from histocyte.representations.shared.vote import vote

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Hover"]

_HOVER = MapKind("hover", *pair(right=0, down=1))


@dataclass(frozen=True, slots=True)
class Hover:
    """The hover representation, both ways."""

    classes: Classes = 0
    """Number of cell classes K; 0 leaves out the types map."""
    nucleus_channels: Literal[1, 2] = 1
    """1: a sigmoid; 2: a softmax over background and nucleus, as HoVer-Net and CellViT have it."""
    nucleus_threshold: Share = 0.5
    """Where nucleus and background are equally likely; a trained model may bring a better one."""
    min_area_px: AreaPx = 10
    """Smaller is debris: 10 px is 0.6 µm² at 0.25 µm/px; the section of a lymphocyte's nucleus is near 400."""
    seam_drop: Weight = 0.035
    """Fall of the distance per px that parts two nuclei. Across a seam it is 0.1 and more even where the network blurs
    it over ten pixels; within a nucleus the distance rises, by 2 / diameter, and only noise makes it fall."""
    smoothing_px: LengthPx = 0.8
    """Gaussian sigma over which that fall is averaged, at 0.25 µm/px: more hides the seams of small nuclei, less lets
    the network's noise cut large ones."""
    compat: bool = False
    """Write and decode as HoVer-Net and CellViT do, for comparison and for models tuned with it: fewer touching and
    thin nuclei come apart, a nucleus depends on what else is in the field, its class is that of most of its pixels, and
    its centre is rounded as in their code. The constants below are for this mode alone."""
    edge_threshold: Share = 0.4
    """Share of the field's range of gradients at which an edge begins, as published."""
    sobel_px: KernelPx = 21
    """Sobel kernel at 0.25 µm/px, as published; 11 at 0.5."""

    @classmethod
    def at(cls, mpp: float, *, classes: int = 0, nucleus_channels: Literal[1, 2] = 1, compat: bool = False) -> Hover:
        """The representation for maps of another resolution, its constants scaled from 0.25 µm/px.

        Lengths follow the pixel's size and areas its square, which gives the published 3 px and kernel 11 at 0.5 µm/px.
        A seam is a few pixels wide at any resolution, so its drop per pixel stays.

        Args:
            mpp: Resolution of the maps, µm/px.
            classes: Number of cell classes.
            nucleus_channels: 1 or 2.
            compat: Decode as published.

        Raises:
            ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.
        """
        zoom = 0.25 / check_mpp(mpp, what="the maps")
        fine = cls()
        return cls(
            classes,
            nucleus_channels,
            min_area_px=max(1, math.ceil(fine.min_area_px * zoom**2)),
            smoothing_px=fine.smoothing_px * zoom,
            compat=compat,
            # OpenCV takes odd kernels up to 31.
            sobel_px=min(31, max(3, 2 * math.floor(fine.sobel_px * zoom / 2) + 1)),
        )

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """What a network predicts for this representation, in channel order."""
        activation: Activation = "sigmoid" if self.nucleus_channels == 1 else "softmax"
        shape = (MapSpec("nucleus", self.nucleus_channels, activation), MapSpec("hover", 2, "linear"))
        return (*shape, MapSpec("types", self.classes + 1, "softmax")) if self.classes else shape

    @property
    def kinds(self) -> Mapping[str, MapKind]:
        """What each map says, by its name."""
        own = {"nucleus": FOREGROUND, "hover": _HOVER}
        return {**own, "types": CLASSES} if self.classes else own

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """HoVer-Net's terms with CellViT's weights, but plain cross-entropy for both the nucleus and the types map."""
        return {
            "nucleus_bce": 1.0,
            "nucleus_dice": 1.0,
            "hover_mse": 2.5,
            "hover_msge": 8.0,
            "types_ce": 1.0,
            "types_dice": 0.2,
        }

    def encode(self, labels: Labels) -> Maps:
        """Write labels as target maps.

        Args:
            labels: The truth; types beyond K or 0 count as unknown.

        Returns:
            nucleus (1 or 2, H, W), hover (2, H, W) and, with classes, types (K + 1, H, W) one-hot; a nucleus of unknown
            class is zero in every channel of types, which a loss reads as "do not learn here".
        """
        instances = labels.instances
        maps = {
            "nucleus": np.stack([instances == 0, instances > 0][-self.nucleus_channels :]).astype(np.float32),
            "hover": hover_map(instances, one_based=self.compat),
        }
        if self.classes:
            maps["types"] = types_map(labels, self.classes)
        return maps

    def decode(self, maps: Maps) -> Instances:
        """Read predicted maps back as nuclei.

        A nucleus is decided by the maps within some tens of pixels, whatever else is in the field and wherever that is
        cut (not with `compat`). Values that are not a number count as background or do not count.

        Args:
            maps: nucleus, hover and, with classes, types, as `maps` has them, float32 or float16.

        Returns:
            Solid one-piece instances; class probabilities are the mean over a nucleus' pixels (with `compat` the share
            of its pixels that are most probably of the class), its score is the mean nucleus probability.
        """
        nucleus, hover = maps["nucleus"][-1], maps["hover"]
        if self.compat:
            labels = separate_as_published(
                nucleus,
                hover,
                nucleus_threshold=self.nucleus_threshold,
                edge_threshold=self.edge_threshold,
                sobel_px=self.sobel_px,
                min_area_px=self.min_area_px,
            )
        else:
            labels = separate(
                nucleus,
                hover,
                nucleus_threshold=self.nucleus_threshold,
                seam_drop=self.seam_drop,
                smoothing_px=self.smoothing_px,
                min_area_px=self.min_area_px,
            )
        return vote(labels, nucleus, maps["types"] if self.classes else None, majority=self.compat)

    def loss_terms(self, raw: Tensor, target: Mapping[str, Tensor], separable: Tensor) -> dict[str, Tensor]:
        """Unweighted loss terms by name (see `hover_loss.hover_loss_terms`).

        Args:
            raw: (B, C, H, W) raw channels of all maps, stacked in the order of `maps`.
            target: Target maps with a batch axis.
            separable: (B,) 0 where touching nuclei are not apart in the labels.
        """
        from histocyte.representations.hover.loss import hover_loss_terms

        return hover_loss_terms(raw_maps(raw, self.maps), target, separable)
