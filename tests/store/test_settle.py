"""The seam rule: however a slide is cut into blocks, the same cells come out in the same order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from histocyte.core.blocks import BlockGrid
from histocyte.core.cells import Cells
from histocyte.core.taxonomies import CONSEP
from histocyte.store.hilbert import hilbert_index
from histocyte.store.journal import StoredBlock
from histocyte.store.settle import settle

SIZE = (400, 300)
MPP = 0.25
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)


@dataclass
class Reports:
    """Blocks in memory in place of a journal."""

    blocks: dict[int, StoredBlock]

    def done(self) -> set[int]:
        return set(self.blocks)

    def read(self, index: int) -> StoredBlock:
        return self.blocks[index]


def discs(xy: NDArray[np.float64], radius: NDArray[np.float64], score: NDArray[np.float64] | None = None) -> Cells:
    xy, radius = np.asarray(xy, np.float64).reshape(-1, 2), np.broadcast_to(radius, len(xy))
    circle = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    n = len(xy)
    probabilities = np.zeros((n, 4), np.float32)
    probabilities[np.arange(n), np.arange(n) % 4] = 1
    return Cells(
        xy,
        (xy[:, None] + radius[:, None, None] * circle).reshape(-1, 2),
        np.arange(n + 1) * len(ANGLES),
        (np.pi * radius**2 * MPP**2).astype(np.float32),
        probabilities,
        np.ones(n, np.float32) if score is None else np.asarray(score, np.float32),
        CONSEP,
        MPP,
    )


def report(
    cells: Cells, grid: BlockGrid, index: int, *, scale: float = 1, claimed_by: Cells | None = None
) -> StoredBlock:
    """What a block says of the cells as it sees them; `claimed_by` places their centres elsewhere for that."""
    xy = (claimed_by or cells).xy * scale
    core = grid[index].core
    beyond = np.maximum(
        np.maximum(core.x - xy[:, 0], xy[:, 0] - core.right), np.maximum(core.y - xy[:, 1], xy[:, 1] - core.bottom)
    )
    told = (grid.owner(xy) == index) | (beyond <= grid.band_px)
    return StoredBlock(cells.take(told), grid.in_band(xy[told]), {})


def merged(reports: Reports, grid: BlockGrid, scale: float = 1) -> Cells:
    tables = list(settle(reports, grid, scale=scale))
    assert all(len(t) for t in tables)
    return Cells.concatenate(tables) if tables else Cells.empty(CONSEP, MPP)


def seen(cells: Cells, grid: BlockGrid, scale: float = 1) -> Cells:
    return merged(Reports({i: report(cells, grid, i, scale=scale) for i in range(len(grid))}), grid, scale)


def assert_equal(left: Cells, right: Cells) -> None:
    for name in ("xy", "contour_xy", "contour_offsets", "area_um2", "probabilities", "scores"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


@st.composite
def tissue(draw: st.DrawFn, least_radius: float = 2.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Discs of which neighbours may touch but not overlap, some right on borders between blocks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wanted = draw(st.integers(0, 150))
    xy, radius = np.empty((0, 2)), np.empty(0)
    for _ in range(wanted):
        r = rng.uniform(least_radius, 9)
        centre = rng.uniform(0, SIZE)
        if len(xy) and rng.random() < 0.6:  # exactly touching one that is there
            to, angle = rng.integers(len(xy)), rng.uniform(0, 2 * np.pi)
            centre = xy[to] + (radius[to] + r) * np.array([np.cos(angle), np.sin(angle)])
        elif rng.random() < 0.3:
            centre = np.round(centre / 20) * 20
        inside = (centre >= 0).all() and (centre < SIZE).all()
        if inside and (np.hypot(*(xy - centre).T) >= radius + r - 1e-9).all():
            xy, radius = np.vstack([xy, centre]), np.append(radius, r)
    return xy, radius


@settings(max_examples=40, deadline=None)
@given(tissue(), st.integers(20, 450), st.integers(0, 12), st.sampled_from([1.0, 0.5, 0.37]))
def test_any_block_size_gives_the_same_cells_in_the_same_order(tissue, core_px, band_px, scale):
    cells = discs(*tissue)
    whole = seen(cells, BlockGrid(SIZE, core_px=4096), scale)
    assert len(whole) == len(cells)
    assert set(map(tuple, whole.xy)) == set(map(tuple, cells.xy))
    assert_equal(seen(cells, BlockGrid(SIZE, core_px=core_px, halo_px=20, band_px=band_px), scale), whole)


@settings(max_examples=40, deadline=None)
@given(tissue(least_radius=5.0), st.integers(40, 300), st.integers(0, 2**32 - 1))
def test_blocks_that_disagree_by_a_pixel_give_each_cell_once(tissue, core_px, seed):
    """Each block sees every centre up to 1 px elsewhere, so that both sides of a border claim some and none others."""
    xy, radius = tissue
    grid = BlockGrid(SIZE, core_px=core_px, halo_px=20, band_px=6)
    rng = np.random.default_rng(seed)
    views = {i: discs(xy + rng.uniform(-0.7, 0.7, xy.shape), radius, rng.random(len(xy))) for i in range(len(grid))}
    found = merged(Reports({i: report(view, grid, i) for i, view in views.items()}), grid)
    assert len(found) == len(xy)
    if len(xy):
        distance = np.hypot(*(found.xy[:, None] - xy).transpose(2, 0, 1))
        assert sorted(distance.argmin(axis=1)) == list(range(len(xy)))
        assert distance.min(axis=1).max() < 1


@pytest.mark.parametrize("spacing", [16.0, 17.0, 17.6, 18.0, 19.0])
@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_packed_nuclei_survive_at_any_spacing(spacing, jitter):
    """30 × 30 nuclei of radius 9 px around a corner of four blocks."""
    axis = 100 + spacing * np.arange(-15, 15) + 160
    xy = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2) - 50
    grid = BlockGrid((500, 500), core_px=203, halo_px=40, band_px=12)
    rng = np.random.default_rng(0)
    views = [discs(xy + rng.uniform(-jitter, jitter, xy.shape), np.array(9.0)) for _ in range(len(grid))]
    found = merged(Reports({i: report(view, grid, i) for i, view in enumerate(views)}), grid)
    inside = ((xy >= 0) & (xy < 500)).all(axis=1)
    claimed = [((v.xy >= 0) & (v.xy < 500)).all(axis=1) for v in views]
    assert inside.sum() > 600
    assert sum(np.all(claimed, axis=0)) <= len(found) <= sum(np.any(claimed, axis=0)) + (~inside).sum()
    for centre in xy[inside]:
        assert (np.hypot(*(found.xy - centre).T) < 1).sum() == 1


BORDER = BlockGrid((200, 100), core_px=100, halo_px=30, band_px=8)
"""Two blocks, x < 100 and x >= 100."""


def two(left: Cells, right: Cells) -> Cells:
    return merged(Reports({0: report(left, BORDER, 0), 1: report(right, BORDER, 1)}), BORDER)


def test_claimed_by_both_sides_counts_once_and_the_surer_stays():
    for scores in ((0.6, 0.9), (0.9, 0.6)):
        found = two(discs([[99.5, 50]], np.array(6.0), [scores[0]]), discs([[100.5, 50]], np.array(6.0), [scores[1]]))
        assert found.scores.tolist() == [np.float32(0.9)]


def test_claimed_by_neither_side_counts_once():
    found = two(discs([[100.5, 50]], np.array(6.0), [0.6]), discs([[99.5, 50]], np.array(6.0), [0.9]))
    assert found.scores.tolist() == [np.float32(0.9)]


def test_the_owner_of_the_centre_is_believed_before_the_surer():
    found = two(discs([[97.0, 50]], np.array(6.0), [0.2]), discs([[98.0, 50]], np.array(6.0), [0.9]))
    assert found.xy.tolist() == [[97.0, 50.0]]


def test_between_equals_the_larger_stays():
    found = two(discs([[99.0, 50]], np.array(6.0)), discs([[101.0, 50]], np.array(7.0)))
    assert found.xy.tolist() == [[101.0, 50.0]]


def test_a_cell_that_only_the_neighbour_saw_is_kept():
    found = two(discs([], np.array(6.0)), discs([[97.0, 50], [150.0, 50]], np.array(6.0)))
    assert sorted(found.xy[:, 0]) == [97.0, 150.0]


def test_centre_just_inside_the_band_for_one_and_outside_for_the_other_counts_once():
    found = two(discs([[91.0, 50]], np.array(6.0)), discs([[93.0, 50]], np.array(6.0)))
    assert found.xy.tolist() == [[91.0, 50.0]]


def test_one_cell_here_and_two_there_leaves_the_owners_two():
    """Block 1 took two nuclei of block 0 for one; block 0 is believed for both."""
    apart = discs([[94.0, 45], [94.0, 55]], np.array(5.5))
    found = two(apart, discs([[94.0, 50]], np.array(11.0), [0.99]))
    assert sorted(found.xy[:, 1]) == [45.0, 55.0]


def test_a_nucleus_inside_the_outline_of_another_is_not_its_double():
    """Block 0 does not report the inner one, whose centre is too far beyond its core; block 1 saw both."""
    both = discs([[98.0, 50], [112.0, 50]], np.array([25.0, 4.0]))
    assert len(two(both, both)) == 2


def test_exact_doubles_collapse():
    cells = discs([[100.0, 50], [100.0, 50 + 1e-9]], np.array(6.0))
    found = merged(
        Reports(
            {
                0: StoredBlock(cells.take(np.array([0])), np.ones(1, bool), {}),
                1: StoredBlock(cells.take(np.array([0])), np.ones(1, bool), {}),
            }
        ),
        BORDER,
    )
    assert len(found) == 1


def test_outlines_without_area_or_with_crossings_are_settled_too():
    line = Cells(
        np.array([[100.0, 50.5], [100.0, 70.0]]),
        np.array([[98.5, 50.5], [101.5, 50.5], [96, 66], [104, 74], [104, 66], [96, 74]]),
        np.array([0, 2, 6]),
        np.ones(2, np.float32),
        np.empty((2, 0), np.float32),
        np.ones(2, np.float32),
        CONSEP,
        MPP,
    )
    assert len(two(line, line)) == 2


def test_order_follows_squares_of_2048_working_px():
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 12000, (3000, 2))
    grid = BlockGrid((6000, 6000), core_px=900)
    tables = list(
        settle(
            Reports({i: report(discs(xy, np.array(3.0)), grid, i, scale=0.5) for i in range(len(grid))}),
            grid,
            scale=0.5,
        )
    )
    squares = [np.unique(np.floor(t.xy / 4096), axis=0) for t in tables]
    assert [len(s) for s in squares] == [1] * 9
    steps = np.abs(np.diff(np.concatenate(squares), axis=0)).sum(axis=1)
    assert sum(len(t) for t in tables) == 3000
    assert (steps == 1).all()
    pixels = np.floor(np.concatenate([t.xy for t in tables]) / 2).astype(int)
    assert (np.diff(hilbert_index(*pixels.T, bits=21)) >= 0).all()


def test_cells_of_one_pixel_come_by_y_then_x_however_a_block_lists_them():
    xy = np.array([[50.1, 50.1], [50.8, 50.1], [50.3, 50.4], [50.7, 50.4], [50.2, 50.9]])
    for rows in ([3, 1, 4, 0, 2], [4, 3, 2, 1, 0]):
        assert two(discs(xy[rows], np.array(0.05)), discs([], np.array(1.0))).xy.tolist() == xy.tolist()


def test_nothing_gives_nothing():
    assert list(settle(Reports({}), BORDER, scale=1.0)) == []
    assert len(two(discs([], np.array(1.0)), discs([], np.array(1.0)))) == 0


def test_few_blocks_are_held_at_a_time():
    """Each block is read a small number of times, and never all of them between two uses of one."""
    rng = np.random.default_rng(2)
    grid = BlockGrid((8192, 8192), core_px=1024)
    cells = discs(rng.uniform(0, 8192, (5000, 2)), np.array(5.0))
    reports = Reports({i: report(cells, grid, i) for i in range(len(grid))})
    reads = 0

    class Counting:
        def done(self) -> set[int]:
            return reports.done()

        def read(self, index: int) -> StoredBlock:
            nonlocal reads
            reads += 1
            return reports.read(index)

    list(settle(Counting(), grid, scale=1.0))
    assert reads <= 5 * len(grid)
