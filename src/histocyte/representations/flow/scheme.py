"""Flow: where nuclei are, and which way their centre lies from each of their pixels.

Maps (C, H, W), after activation:
    nucleus  1      probability of lying in any nucleus (Cellpose's cell probability); absent with foreground="types"
    flow     2      dy then dx, down and right: row before column as in Cellpose, `flow_scale` times a unit vector
    types    K + 1  class probabilities, background first (absent for a model without classes)

Pixels that follow the flows meet at their nucleus' centre, also from the arms of a bent one and however many touch
(Stringer et al. 2021, Cellpose, doi 10.1038/s41592-020-01018-x).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.core.instances import Instances, Labels
from histocyte.core.maps import Maps, MapSpec
from histocyte.core.names import counted
from histocyte.representations.flow.decode import separate, separate_as_published
from histocyte.representations.flow.targets import flow_map
from histocyte.representations.flow.targets_library import library_flow_map
from histocyte.representations.maps.kinds import CLASSES, FOREGROUND, MapKind, pair
from histocyte.representations.maps.raw_maps import raw_maps
from histocyte.representations.maps.types_map import types_map
from histocyte.representations.options import AreaPx, Classes, LengthPx, Share, Weight
from histocyte.representations.shared.vote import vote

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Flow"]

_FLOW = MapKind("flow", *pair(right=1, down=0))
"""Down comes first; of length 1, whatever a network is taught."""

_LOSSES: Mapping[str, Mapping[str, float]] = {
    "cellpose": {"nucleus_bce": 1.0, "flow_mse": 1.0, "types_ce": 1.0, "types_dice": 0.2},
    "lightweight": {"nucleus_bce": 1.0, "flow_mse": 1.0, "types_focal": 1.0, "types_ce_svls_sd": 1.0},
}
_MAX_AREA_UM2 = 2000.0
"""Section of the largest nucleus believed: twice that of giant cells' and megakaryocytes', a disc of 50 µm."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The flow representation, both ways. Its constants hold at 0.25 µm/px; `at` scales them to others."""

    classes: Classes = 0
    """Number of cell classes K; 0 leaves out the types map."""
    foreground: Literal["nucleus", "types"] = "nucleus"
    """Where nuclei are: a map of its own, or what the types map does not call background (the lightweight model)."""
    flow_scale: LengthPx = 5.0
    """Length of a full flow. Cellpose learns five times a unit vector, so that flows weigh as much as the nucleus map;
    the lightweight model, 1."""
    targets: Literal["cellpose", "cellseg_models"] = "cellpose"
    """Whose flows `encode` writes: Cellpose's, or those of the library cellseg_models.pytorch, which start from the
    median pixel and follow the logarithm of the heat (see `flow_targets_library`)."""
    nucleus_threshold: Share = 0.5
    """Where nucleus and background are equally likely, Cellpose's logit 0."""
    steps: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Steps of at most 1 px that a pixel follows the flow, as published: 50 µm, several times a nucleus' reach."""
    seed_points: AreaPx = 10
    """More pixels than this must end in one place for it to be a nucleus' centre, as published."""
    max_flow_error: Weight = 0.4
    """Nuclei vanish whose flows lie further than this (mean squared) from those of the shape they gave, as published;
    0 keeps all. Where the network finds no shape, it is near 1."""
    min_area_px: AreaPx = 15
    """Smaller is debris, as published: 0.9 µm²; the section of a lymphocyte's nucleus is near 25 µm²."""
    max_area_px: AreaPx = round(_MAX_AREA_UM2 * 16)
    """Larger is not a nucleus: see `_MAX_AREA_UM2`."""
    losses: Literal["cellpose", "lightweight"] = "cellpose"
    """Which loss terms count: Cellpose's, or those of the lightweight model for its types map."""
    class_weights: tuple[Weight, ...] = ()
    """Weight of background and of each class in the focal loss; all 1 where empty (see `losses.classes`)."""
    compat: bool = False
    """Encode and decode as Cellpose 4 does, for comparison and for models tuned with it: a nucleus then depends on what
    else is in the field and on the field's size. With the other `targets`, decode alone."""
    max_fraction: Share = 0.4
    """With `compat`, the share of the field beyond which an instance vanishes, as published; no other limit then."""

    def __post_init__(self) -> None:
        if self.foreground == "types" and not self.classes:
            raise InputError("Without classes there is no types map to take the foreground from; use 'nucleus'.")
        if self.targets not in ("cellpose", "cellseg_models"):
            raise InputError(f"Flows are written as 'cellpose' or 'cellseg_models' does, asked was '{self.targets}'.")
        if self.class_weights and len(self.class_weights) != self.classes + 1:
            raise InputError(
                f"{counted(len(self.class_weights), 'class weight')} for background and "
                f"{counted(self.classes, 'class')}; give one each."
            )

    @classmethod
    def at(
        cls,
        mpp: float,
        *,
        classes: int = 0,
        foreground: Literal["nucleus", "types"] = "nucleus",
        flow_scale: float = 5.0,
        targets: Literal["cellpose", "cellseg_models"] = "cellpose",
        losses: Literal["cellpose", "lightweight"] = "cellpose",
        compat: bool = False,
    ) -> Flow:
        """The representation for maps of another resolution, its constants scaled from 0.25 µm/px.

        The way a pixel may have to go follows the pixel's size; areas, and the number of pixels that meet in a centre,
        its square. With `compat` the published numbers stay, but for the steps.

        Args:
            mpp: Resolution of the maps, µm/px.
            classes: Number of cell classes.
            foreground: Which map says where nuclei are.
            flow_scale: Length of a full flow.
            targets: Whose flows are written.
            losses: Which loss terms count.
            compat: Encode and decode as published.

        Raises:
            ResolutionError: The resolution is not finite or outside 0.05–10 µm/px.
        """
        zoom = 0.25 / check_mpp(mpp, what="the maps")
        fine = cls()
        return cls(
            classes,
            foreground,
            flow_scale,
            targets,
            steps=max(8, math.ceil(fine.steps * zoom)),
            seed_points=fine.seed_points if compat else max(1, math.floor(fine.seed_points * zoom**2)),
            min_area_px=fine.min_area_px if compat else max(1, math.ceil(fine.min_area_px * zoom**2)),
            max_area_px=math.ceil(fine.max_area_px * zoom**2),
            losses=losses,
            compat=compat,
        )

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """What a network predicts for this representation, in channel order."""
        nucleus = (MapSpec("nucleus", 1, "sigmoid"),) if self.foreground == "nucleus" else ()
        types = (MapSpec("types", self.classes + 1, "softmax"),) if self.classes else ()
        return (*nucleus, MapSpec("flow", 2, "linear"), *types)

    @property
    def kinds(self) -> Mapping[str, MapKind]:
        """What each map says, by its name."""
        own = {"flow": replace(_FLOW, scale=self.flow_scale)}
        if self.foreground == "nucleus":
            own["nucleus"] = FOREGROUND
        return {**own, "types": CLASSES} if self.classes else own

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Cellpose's two terms, equally weighted as it has them, and terms of the types map as `losses` says."""
        return _LOSSES[self.losses]

    def encode(self, labels: Labels) -> Maps:
        """Write labels as target maps.

        Args:
            labels: The truth; types beyond K or 0 count as unknown.

        Returns:
            What `maps` lists, types one-hot; a nucleus of unknown class is zero in every channel of types, which a loss
            reads as "of some class".
        """
        instances = labels.instances
        if self.targets == "cellseg_models":
            flow = library_flow_map(instances)
        else:
            flow = flow_map(instances, compat=self.compat)
        maps = {"flow": flow * np.float32(self.flow_scale)}
        if self.foreground == "nucleus":
            maps = {"nucleus": (instances > 0).astype(np.float32)[None], **maps}
        if self.classes:
            maps["types"] = types_map(labels, self.classes)
        return maps

    def decode(self, maps: Maps) -> Instances:
        """Read predicted maps back as nuclei.

        A nucleus is decided by the maps within some tens of pixels, whatever else is in the field and wherever that is
        cut (not with `compat`). Values that are not a number count as background or as no flow.

        Args:
            maps: As `maps` has them, float32 or float16.

        Returns:
            Solid one-piece instances; class probabilities are the mean over a nucleus' pixels, its score is the mean
            nucleus probability.
        """
        nucleus, inside = self._foreground(maps)
        flow = np.ascontiguousarray(maps["flow"], np.float32)
        if self.compat:
            labels = separate_as_published(
                inside,
                flow,
                flow_scale=self.flow_scale,
                steps=self.steps,
                seed_points=self.seed_points,
                max_flow_error=self.max_flow_error,
                min_area_px=self.min_area_px,
                max_fraction=self.max_fraction,
            )
        else:
            labels = separate(
                inside,
                flow,
                flow_scale=self.flow_scale,
                steps=self.steps,
                seed_points=self.seed_points,
                max_flow_error=self.max_flow_error,
                min_area_px=self.min_area_px,
                max_area_px=self.max_area_px,
            )
        return vote(labels, nucleus, maps["types"] if self.classes else None, majority=self.compat)

    def _foreground(self, maps: Maps) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
        """(H, W) probability of lying in a nucleus, and where that is believed."""
        if self.foreground == "nucleus":
            return maps["nucleus"][0], maps["nucleus"][0] > self.nucleus_threshold
        nucleus = 1 - maps["types"][0]
        if self.compat:  # as published, the single likeliest class must beat background, not all classes together
            return nucleus, maps["types"][1:].max(axis=0) > maps["types"][0]
        return nucleus, nucleus > self.nucleus_threshold

    def loss_terms(self, raw: Tensor, target: Mapping[str, Tensor], separable: Tensor) -> dict[str, Tensor]:
        """Unweighted loss terms by name (see `flow_loss.flow_loss_terms`).

        Args:
            raw: (B, C, H, W) raw channels of all maps, stacked in the order of `maps`.
            target: Target maps with a batch axis.
            separable: (B,) 0 where touching nuclei are not apart in the labels.
        """
        from histocyte.representations.flow.loss import flow_loss_terms

        return flow_loss_terms(raw_maps(raw, self.maps), target, separable, class_weights=self.class_weights)
