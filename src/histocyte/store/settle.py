"""The seam rule: of what several blocks reported, each cell once, in one order for the whole slide.

A block reports the cells whose centre lies in its core, and also those whose centre lies beyond it by no more
than the band: there two blocks may disagree by a pixel about whose cell it is, and without the overlap both or
neither would claim it. Two reports of different blocks, one of them in the band, are the same cell when they
share more than half of the smaller one; the better is kept. So touching nuclei all stay, and a report is only
ever dropped for another that is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from histocyte.core.blocks import BlockGrid
from histocyte.core.cells import Cells
from histocyte.store.hilbert import hilbert_index
from histocyte.store.journal import StoredBlock

__all__ = ["BlockSource", "settle"]

_SQUARE_BITS = 11
"""Cells come out in squares of 2^11 = 2048 working px, whatever the size of a block."""
_CURVE_BITS = 21
"""The curve covers 2^21 working px on a side: half a metre of glass at 0.25 µm/px."""
_SAME_CELL_IOM = 0.5
_TWIN_IOU = 0.9
_CACHED_BLOCKS = 9


class BlockSource(Protocol):
    """Where the reports are: a `Journal`."""

    def done(self) -> set[int]:
        """Indices of the finished blocks."""

    def read(self, index: int) -> StoredBlock:
        """What a block reported."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The N reports near borders between blocks, compact, in the order of (block, row)."""

    block: NDArray[np.int32]
    row: NDArray[np.int32]
    square: NDArray[np.int32]
    bounds: NDArray[np.float32]
    score: NDArray[np.float32]
    area: NDArray[np.float32]
    owned: NDArray[np.bool_]
    in_band: NDArray[np.bool_]


def settle(journal: BlockSource, grid: BlockGrid, *, scale: float) -> Iterator[Cells]:
    """Merge what the blocks reported.

    Held in memory are a few numbers for each report near a border and the cells of a few blocks.

    Of reports of the same cell the one stays that (1) comes from the block whose core holds its own centre,
    (2) has the higher score, (3) the larger area, (4) the lower block number. Reports of different blocks do
    not count as the same cell if one of them has a twin (IoU > 0.9) among the other block's: that block saw both
    and told them apart, as with a nucleus inside the outline of another.

    Args:
        journal: The finished blocks; those missing are left out.
        grid: The blocks.
        scale: Working px per level-0 px.

    Yields:
        Non-empty tables along a Hilbert curve over squares of 2048 working px, and within each along the same
        curve by the centre's pixel, then by y and x. Neither order nor content of the tables depends on `grid`.
    """
    interior, near = _survey(journal, grid, scale)
    lost = _lost(journal, near)
    visits = np.concatenate([interior, np.column_stack([near.square, near.block])[~lost]])
    visits = np.unique(visits, axis=0)  # sorts by square first
    losing_blocks, starts = np.unique(near.block[lost], return_index=True)
    lost_rows = dict(zip(losing_blocks.tolist(), np.split(near.row[lost], starts[1:]), strict=bool(lost.any())))

    @lru_cache(maxsize=_CACHED_BLOCKS)
    def survivors(block: int) -> tuple[Cells, NDArray[np.int64]]:
        cells = journal.read(block).cells
        keep = np.ones(len(cells), np.bool_)
        keep[lost_rows.get(block, [])] = False
        cells = cells.take(keep)
        place = _place(cells.xy, scale)
        order = np.argsort(place, kind="stable")
        return cells.take(order), place[order]

    for square in np.unique(visits[:, 0]):
        parts, places = [], []
        for block in visits[slice(*np.searchsorted(visits[:, 0], [square, square + 1])), 1]:
            cells, place = survivors(int(block))
            first, end = np.searchsorted(place >> 2 * _SQUARE_BITS, [square, square + 1])
            parts.append(cells.take(np.arange(first, end)))
            places.append(place[first:end])
        merged, place = Cells.concatenate(parts), np.concatenate(places)
        yield merged.take(np.lexsort((merged.area_um2, merged.xy[:, 0], merged.xy[:, 1], place)))


def _place(xy: NDArray[np.float64], scale: float) -> NDArray[np.int64]:
    """(N,) place of each centre's working pixel on the slide's Hilbert curve."""
    column, row = np.floor(xy * scale).astype(np.int64).T
    return hilbert_index(column, row, bits=_CURVE_BITS)


def _survey(journal: BlockSource, grid: BlockGrid, scale: float) -> tuple[NDArray[np.int32], _Candidates]:
    """Go through all blocks once.

    Returns:
        (M, 2) the pairs (square, block) in which the block has cells away from borders, and the rest.
    """
    # What overlaps a report in the band may have its own centre beyond it, by as much as a nucleus is large.
    wide_grid = replace(grid, band_px=grid.halo_px)
    interior, found = [np.empty((0, 2), np.int32)], []
    for index in sorted(journal.done()):
        stored = journal.read(index)
        xy = stored.cells.xy * scale
        square = (_place(stored.cells.xy, scale) >> 2 * _SQUARE_BITS).astype(np.int32)
        owned = grid.owner(xy) == index
        in_band = stored.in_band | ~owned
        rows = np.flatnonzero(in_band | wide_grid.in_band(xy))
        inner = np.unique(np.delete(square, rows))
        interior.append(np.column_stack([inner, np.full_like(inner, index)]))
        found.append(
            _Candidates(
                block=np.full(len(rows), index, np.int32),
                row=rows.astype(np.int32),
                square=square[rows],
                bounds=stored.cells.bounds()[rows].astype(np.float32),
                score=stored.cells.scores[rows],
                area=stored.cells.area_um2[rows],
                owned=owned[rows],
                in_band=in_band[rows],
            )
        )
    return np.concatenate(interior), _joined(found)


def _joined(parts: list[_Candidates]) -> _Candidates:
    if not parts:
        none, no = np.empty(0, np.int32), np.empty(0, np.bool_)
        real = np.empty(0, np.float32)
        return _Candidates(none, none, none, np.empty((0, 4), np.float32), real, real, no, no)
    return _Candidates(*(np.concatenate([getattr(p, name) for p in parts]) for name in _Candidates.__slots__))


def _lost(journal: BlockSource, near: _Candidates) -> NDArray[np.bool_]:
    """(N,) which candidates are another, better candidate's double."""
    doubles: dict[int, list[int]] = defaultdict(list)
    for left, right in _doubles(journal, near):
        doubles[left].append(right)
        doubles[right].append(left)
    rank = np.empty(len(near.block), np.int64)
    rank[np.lexsort((near.row, near.block, -near.area, -near.score, ~near.owned))] = np.arange(len(rank))
    lost = np.zeros(len(near.block), np.bool_)
    for best in sorted(doubles, key=rank.__getitem__):
        if not lost[best]:
            lost[doubles[best]] = True
    return lost


def _doubles(journal: BlockSource, near: _Candidates) -> Iterator[tuple[int, int]]:
    """Pairs of candidates that are the same cell seen by two blocks."""
    blocks, starts = np.unique(near.block, return_index=True)
    if len(blocks) == 0:
        return
    load = lru_cache(maxsize=_CACHED_BLOCKS)(journal.read)
    ends = np.append(starts[1:], len(near.block))
    extents = shapely.box(
        *np.minimum.reduceat(near.bounds[:, :2], starts).T, *np.maximum.reduceat(near.bounds[:, 2:], starts).T
    )
    tree = shapely.STRtree(extents)
    for i in range(len(blocks)):
        for j in sorted(int(k) for k in tree.query(extents[i]) if k > i):
            left, right = _touching_boxes(near, slice(starts[i], ends[i]), slice(starts[j], ends[j]))
            if len(left):
                same = _same_cell(near, left, right, load)
                yield from zip(left[same].tolist(), right[same].tolist(), strict=True)


def _touching_boxes(near: _Candidates, first: slice, second: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Candidates of two blocks whose bounding boxes meet, one of the two in the band."""
    boxes = shapely.box(*near.bounds[first].T)
    other, one = shapely.STRtree(boxes).query(shapely.box(*near.bounds[second].T))
    left, right = one + first.start, other + second.start
    relevant = near.in_band[left] | near.in_band[right]
    return left[relevant], right[relevant]


def _same_cell(
    near: _Candidates, left: NDArray[np.int64], right: NDArray[np.int64], load: Callable[[int], StoredBlock]
) -> NDArray[np.bool_]:
    """(P,) whether each pair of candidates, all of the same two blocks, is one cell."""
    one = _outlines(load(int(near.block[left[0]])).cells, near.row[left])
    other = _outlines(load(int(near.block[right[0]])).cells, near.row[right])
    areas, other_areas = shapely.area(one), shapely.area(other)
    shared = shapely.area(shapely.intersection(one, other))
    twins = shared > _TWIN_IOU * (areas + other_areas - shared)
    told_apart = np.isin(left, left[twins]) | np.isin(right, right[twins])
    return np.asarray((shared > _SAME_CELL_IOM * np.minimum(areas, other_areas)) & (twins | ~told_apart))


def _outlines(cells: Cells, rows: NDArray[np.int32]) -> NDArray[np.object_]:
    """(P,) valid polygons of non-zero area for the given rows."""
    unique, inverse = np.unique(rows, return_inverse=True)
    return np.array([_outline(cells.contour(row)) for row in unique.tolist()], np.object_)[inverse]


def _outline(ring: NDArray[np.float64]) -> shapely.Geometry:
    if len(ring) >= 3:
        polygon = shapely.Polygon(ring)
        if not polygon.is_valid:
            polygon = shapely.make_valid(polygon)
        if polygon.area > 0:
            return polygon
    low, high = ring.min(axis=0) - 0.5, ring.max(axis=0) + 0.5  # one row of pixels, drawn through their centres
    return shapely.box(*low, *high)
