"""Nuclei as background, inside and border (Caicedo et al. 2019, doi 10.1002/cyto.a.23863), both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from histocyte.core.instances import Instances, Labels
from histocyte.core.labels import clean_instances
from histocyte.core.maps import Maps, MapSpec
from histocyte.representations.maps.kinds import MapKind
from histocyte.representations.shared.vote import vote

__all__ = ["Border"]


@dataclass(frozen=True, slots=True)
class Border:
    """Three classes of pixels: background, inside, border."""

    classes: int = 0
    """Of cells; this example tells none apart."""

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """One map of three channels."""
        return (MapSpec("border", 3, "softmax"),)

    @property
    def kinds(self) -> Mapping[str, MapKind]:
        """Probabilities point nowhere, so they turn with the image as they are; one of them is background."""
        return {"border": MapKind("border", background=0)}

    @classmethod
    def at(cls, mpp: float, *, classes: int = 0) -> Border:
        """There are no constants in px that a resolution would change."""
        return cls(classes)

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """One term."""
        return {"border_ce": 1.0}

    def encode(self, labels: Labels) -> Maps:
        """The outermost pixel of each nucleus is border."""
        instances = labels.instances
        same = np.ones(instances.shape, bool)
        for axis in (0, 1):
            for step in (1, -1):
                same &= np.roll(instances, step, axis) == instances
        kind = np.where(instances == 0, 0, np.where(same, 1, 2))
        return {"border": np.equal(kind, np.arange(3)[:, None, None]).astype(np.float32)}

    def decode(self, maps: Maps) -> Instances:
        """Each inside is a nucleus, grown back over its border."""
        border = np.asarray(maps["border"], np.float32)
        kind = border.argmax(axis=0)
        _, inside = cv2.connectedComponents((kind == 1).astype(np.uint8), connectivity=4)
        nearest = ndimage.distance_transform_edt(inside == 0, return_distances=False, return_indices=True)
        labels = np.where(kind > 0, inside[tuple(nearest)], 0)
        return vote(clean_instances(labels.astype(np.int32)), 1 - border[0])

    def loss_terms(self, raw, target, separable):  # type: ignore[no-untyped-def]
        """Cross-entropy; images whose nuclei are not apart teach nothing here."""
        import torch.nn.functional as F

        per_pixel = F.cross_entropy(raw, target["border"], reduction="none")
        return {"border_ce": (per_pixel * separable.view(-1, 1, 1)).mean()}
