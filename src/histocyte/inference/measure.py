"""From instances on one field to cells on the slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.blocks import Block, BlockGrid
from histocyte.core.cells import Cells
from histocyte.core.instances import Instances
from histocyte.core.labels import instance_statistics
from histocyte.core.outlines import trace_outlines
from histocyte.core.taxonomy import Taxonomy

__all__ = ["measure"]


def measure(
    instances: Instances,
    block: Block,
    grid: BlockGrid,
    *,
    mpp: float,
    slide_mpp: float,
    taxonomy: Taxonomy,
    embeddings: NDArray[np.float32] | None = None,
) -> tuple[Cells, NDArray[np.bool_]]:
    """The cells that a block reports: its own, and strangers in the band around its core.

    Args:
        instances: Found on the block's field.
        block: The block.
        grid: It belongs to.
        mpp: Resolution of the working frame.
        slide_mpp: Resolution of level 0, in whose px the cells are given.
        taxonomy: Taxonomy of the class probabilities.
        embeddings: (N, D) vector of each instance.

    Returns:
        The cells, and (N,) whether each lies in the band along a border, where a neighbour may report it as well.
    """
    if len(instances) == 0:
        return Cells.empty(taxonomy, slide_mpp), np.zeros(0, np.bool_)
    area_px, centroid = instance_statistics(instances.labels)
    points, offsets = trace_outlines(instances.labels, clean=True)  # as decoding leaves them
    corner = np.array([block.field.x, block.field.y], np.float64)
    to_level_0 = mpp / slide_mpp
    # In whole numbers, so that the same nucleus has the same centre to the last bit in every block that sees it.
    doubled = np.rint(2 * centroid * area_px[:, None]) + 2 * corner * area_px[:, None]
    work = doubled / (2 * area_px[:, None])
    cells = Cells(
        work * to_level_0,
        (points + corner) * to_level_0,
        offsets.astype(np.int64),
        (area_px * mpp**2).astype(np.float32),
        instances.class_probabilities,
        instances.scores,
        taxonomy,
        slide_mpp,
        embeddings,
    )
    in_band = grid.in_band(work)
    reported = (grid.owner(work) == block.index) | (in_band & _around_core(work, block, grid.band_px))
    return cells.take(reported), in_band[reported]


def _around_core(xy: NDArray[np.float64], block: Block, band_px: int) -> NDArray[np.bool_]:
    near = block.core.expand(band_px)
    x, y = xy[:, 0], xy[:, 1]
    return np.asarray((x >= near.x) & (x <= near.right) & (y >= near.y) & (y <= near.bottom))
