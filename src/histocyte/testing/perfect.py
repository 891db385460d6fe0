"""A network that is never wrong: it reads the truth off the colours of the picture.

What it says of a pixel depends on that pixel alone, so any tiling, batching or number of workers must give exactly
the same cells; whatever goes wrong behind it is the pipeline's doing. The picture it reads is written by
`paint_truth` and must reach it without loss (no JPEG, no resampling).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.instances import Labels
from histocyte.core.maps import MapSpec
from histocyte.core.taxonomy import Taxonomy
from histocyte.representations.hover.scheme import Hover

__all__ = ["PerfectModel", "paint_truth"]

_STEPS = 127
"""The hover distances -1..1 are stored as -127..127."""
_ZERO = 127
"""Byte that stands for a distance of 0."""


def paint_truth(labels: Labels, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Write labels as colours: red the class, green and blue the hover distances across and down.

    Args:
        labels: The truth; without types, or where a type is 0, the class is unknown.
        taxonomy: The K classes that types count through.

    Returns:
        (H, W, 3) uint8; background is white, which is also what lies off a slide.
    """
    maps = Hover(len(taxonomy)).encode(labels)
    inside = labels.instances > 0
    image = np.full((*inside.shape, 3), 255, np.uint8)
    types = np.zeros(int(labels.instances.max(initial=0)) + 1, np.uint8) if labels.types is None else labels.types
    image[inside, 0] = _codes(taxonomy)[types[labels.instances[inside]]]
    image[inside, 1:] = np.rint(maps["hover"][:, inside].T * _STEPS + _ZERO).astype(np.uint8)
    return image


class PerfectModel:
    """Stands in for a trained hover network and its runtime."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        self._classes = len(taxonomy)
        self._nearest_type = np.abs(np.arange(256)[:, None] - _red_levels(taxonomy)).argmin(axis=1)
        # One row a map channel (nucleus, then types), one column a shade of red.
        red = self._nearest_type
        rows = [red <= self._classes]
        if self._classes:
            rows.append(red == self._classes + 1)
            rows += [red == t for t in range(1, self._classes + 1)]
        self._from_red = np.stack(rows).astype(np.float32)
        self._distance = ((np.arange(256) - _ZERO) / _STEPS).clip(-1, 1).astype(np.float32)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """What `predict` gives, in channel order: nucleus (1), hover (2), with classes types (K + 1)."""
        return Hover(self._classes).maps

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps of a batch of pictures written by `paint_truth`.

        Args:
            images: (B, H, W, 3) RGB.

        Returns:
            (B, 1 + 2 + K + 1, H, W) after activation; without classes (B, 3, H, W). Hover is within 1/254 of the
            truth, all else exact.
        """
        batch, height, width, _ = images.shape
        stacked = np.empty((batch, 2 + len(self._from_red), height, width), np.float32)
        red = images[..., 0]
        nucleus = self._from_red[0][red]
        stacked[:, 0] = nucleus
        for axis in (1, 2):
            stacked[:, axis] = self._distance[images[..., axis]] * nucleus
        for channel, table in enumerate(self._from_red[1:], 3):
            stacked[:, channel] = table[red]
        return stacked


def _red_levels(taxonomy: Taxonomy) -> NDArray[np.int64]:
    """(K + 2,) shade of red of types 0 (unknown) to K, then of the background."""
    return np.rint(np.linspace(0, 255, len(taxonomy) + 2)).astype(np.int64)


def _codes(taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """(256,) shade of red of every type; types beyond the taxonomy count as unknown."""
    codes = np.zeros(256, np.uint8)
    codes[: len(taxonomy) + 1] = _red_levels(taxonomy)[:-1]
    return codes
