"""Maps of a whole field from a network that sees tiles.

Each pixel is taken from the tile in which it lies most central (`core.tiles`): the border of a tile, where the network
lacks context, counts only where the field itself ends.

The maps of a field are the largest thing that a run holds, so they are kept in half precision: 11 bits, finer than any
network's probabilities and distances are good for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from histocyte.core.geometry import Box
from histocyte.core.half import write_half
from histocyte.core.tiles import Span, tile_spans
from histocyte.inference.embed import FieldFeatures
from histocyte.inference.runtime import Runtime

__all__ = ["MAP_DTYPE", "predict_field"]

MAP_DTYPE = np.float16


def predict_field(
    image: NDArray[np.uint8],
    runtime: Runtime,
    *,
    channels: int,
    tile_px: int,
    margin_px: int,
    batch: int = 1,
    wanted: Callable[[Box], bool] | None = None,
    features: FieldFeatures | None = None,
) -> NDArray[np.float16]:
    """Maps (C, H, W) of a field, in half precision.

    Args:
        image: (H, W, 3) uint8 RGB; sides that are not multiples of the runtime's are filled up with white.
        runtime: The network.
        channels: C.
        tile_px: Side of a tile.
        margin_px: Its margin.
        batch: Tiles of the same size that are predicted together.
        wanted: Whether anything in a box of the field (px of the image) is wanted; tiles without stay zero.
        features: Takes the encoder's features of each tile, from the same pass; only of a runtime that gives them.
    """
    height, width = image.shape[:2]
    fill = [(0, -side % runtime.multiple) for side in (height, width)]
    image = np.pad(image, [*fill, (0, 0)], constant_values=255) if any(f[1] for f in fill) else image
    maps = np.zeros((channels, height, width), MAP_DTYPE)
    layout = {"tile_px": tile_px, "margin_px": margin_px, "multiple": runtime.multiple}
    tiles = [(row, column) for row in tile_spans(height, **layout) for column in tile_spans(width, **layout)]
    if wanted is not None:
        tiles = [(row, column) for row, column in tiles if wanted(_core(row, column))]
    for group in _batches(tiles, batch):
        pixels = [image[r.start : r.start + r.size, c.start : c.start + c.size] for r, c in group]
        predicted = _predict(np.stack(pixels), group, runtime, features)
        for (row, column), tile in zip(group, predicted, strict=True):
            rows = slice(row.core_start - row.start, row.core_stop - row.start)
            columns = slice(column.core_start - column.start, column.core_stop - column.start)
            # Beyond 65504 is infinite, which decoding takes for no number.
            write_half(
                tile[:, rows, columns],
                maps[:, row.core_start : row.core_stop, column.core_start : column.core_stop],
            )
    return maps


def _predict(
    images: NDArray[np.uint8], group: Sequence[tuple[Span, Span]], runtime: Runtime, features: FieldFeatures | None
) -> NDArray[np.float32]:
    if features is None:
        return runtime.predict(images)
    maps, values = runtime.predict_with_features(images)
    for (row, column), one in zip(group, values, strict=True):
        features.add(row, column, one)
    return maps


def _core(row: Span, column: Span) -> Box:
    return Box(column.core_start, row.core_start, column.core_stop - column.core_start, row.core_stop - row.core_start)


def _batches(tiles: Sequence[tuple[Span, Span]], size: int) -> list[list[tuple[Span, Span]]]:
    """Tiles of equal size together, at most `size` of them."""
    groups: list[list[tuple[Span, Span]]] = []
    for tile in sorted(tiles, key=lambda t: (t[0].size, t[1].size)):
        shape = (tile[0].size, tile[1].size)
        if groups and len(groups[-1]) < size and (groups[-1][0][0].size, groups[-1][0][1].size) == shape:
            groups[-1].append(tile)
        else:
            groups.append([tile])
    return groups
