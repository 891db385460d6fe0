"""A vector for each nucleus, out of the features that the network computed for the maps anyway.

The vector is the mean of the encoder's features over the nucleus' pixels, each feature thus weighted by the area it
shares with the nucleus: tokens of the last tapped block of a vision transformer, as in CellViT++ (Hörst et al. 2026,
doi 10.1016/j.cmpb.2025.109206), or the deepest level of a pyramid. CellViT++ takes the plain mean over the tokens of
the bounding box instead; with the area, neighbours' tokens hardly count, and no tiling changes the vector of a local
network. As with the maps, a pixel counts in the tile in which it lies most central.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histocyte.core.tiles import Span
from histocyte.model.features import FeatureInfo

__all__ = ["FieldFeatures", "TileFeatures", "pool_plain"]


@dataclass(frozen=True, slots=True)
class TileFeatures:
    """Features (h, w, D) of one tile, which lies at the spans on its field."""

    row: Span
    column: Span
    values: NDArray[np.float16]


class FieldFeatures:
    """Features of a field's tiles, kept until its nuclei are known.

    Args:
        info: What they are.
    """

    def __init__(self, info: FeatureInfo) -> None:
        self.info = info
        self.tiles: list[TileFeatures] = []

    def add(self, row: Span, column: Span, values: NDArray[np.float16]) -> None:
        """Keep the features (h, w, D) of a tile."""
        self.tiles.append(TileFeatures(row, column, values))

    def pool(self, labels: NDArray[np.int32]) -> NDArray[np.float32]:
        """(N, D) vector of each nucleus.

        Args:
            labels: (H, W) on the field's pixels, 0 background, 1..N nuclei.

        Returns:
            Means by area; zeros for a nucleus none of whose pixels lies in a tile.
        """
        from scipy.sparse import csr_array  # takes .15 s to import, and most runs want no vectors

        count = int(labels.max(initial=0))
        sums, areas = np.zeros((count, self.info.width), np.float64), np.zeros(count, np.int64)
        for tile in self.tiles:
            nucleus, place = _places(labels, tile, self.info.border_px)
            area = np.bincount(nucleus, minlength=count)
            flat = tile.values.reshape(-1, tile.values.shape[-1])
            used, column = np.unique(place, return_inverse=True)
            shares = csr_array((np.ones(len(nucleus)), (nucleus, column)), shape=(count, len(used)))
            sums += shares @ flat[used].astype(np.float64)
            areas += area
        return (sums / np.maximum(areas, 1)[:, None]).astype(np.float32)


def _places(
    labels: NDArray[np.int32], tile: TileFeatures, border_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each nucleus pixel of a tile's core: its nucleus, from 0, and its place in the tile's flat grid."""
    row, column = tile.row, tile.column
    rows, columns = np.nonzero(labels[row.core_start : row.core_stop, column.core_start : column.core_stop])
    nucleus = labels[rows + row.core_start, columns + column.core_start].astype(np.int64) - 1
    height, width = tile.values.shape[:2]
    down = _cell(rows + row.core_start - row.start, row.size, height, border_px)
    across = _cell(columns + column.core_start - column.start, column.size, width, border_px)
    return nucleus, down * width + across


def _cell(px: NDArray[np.int64], size: int, cells: int, border_px: int) -> NDArray[np.int64]:
    """Which of `cells` features, spread evenly over the tile and its border, holds the middle of each pixel."""
    return (2 * (px + border_px) + 1) * cells // (2 * (size + 2 * border_px))


def pool_plain(features: FieldFeatures, labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """What `FieldFeatures.pool` gives, pixel by pixel."""
    count, border = int(labels.max(initial=0)), features.info.border_px
    vectors = np.zeros((count, features.info.width), np.float32)
    for number in range(1, count + 1):
        found = []
        for row, column in np.argwhere(labels == number):
            for tile in features.tiles:
                r, c = tile.row, tile.column
                if r.core_start <= row < r.core_stop and c.core_start <= column < c.core_stop:
                    height, width = tile.values.shape[:2]
                    y = (row - r.start + border + 0.5) * height / (r.size + 2 * border)
                    x = (column - c.start + border + 0.5) * width / (c.size + 2 * border)
                    found.append(tile.values[int(y), int(x)].astype(np.float64))
        if found:
            vectors[number - 1] = np.mean(found, axis=0)
    return vectors
