"""One-to-one assignment where only few pairs are possible: solved per connected group of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

__all__ = ["assign"]


def assign(
    rows: NDArray[np.integer], columns: NDArray[np.integer], gain: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Choose pairs so that no row and no column is used twice and the summed gain is largest.

    The optimum is that of the Hungarian method on the full matrix with 0 where no pair is listed; only groups of
    pairs that compete are solved together, so the cost grows with the crowding and not with the image.

    Args:
        rows: (P,) row of each possible pair; a pair is listed once.
        columns: (P,) its column.
        gain: (P,) what it brings, above 0.
        shape: Number of rows and of columns.

    Returns:
        (P,) which pairs are chosen.
    """
    chosen = np.zeros(len(rows), np.bool_)
    if len(rows) == 0:
        return chosen
    size = sum(shape)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns + shape[0])), shape=(size, size))
    group = connected_components(graph, directed=False)[1][rows]
    chosen[np.bincount(group)[group] == 1] = True
    rest = np.flatnonzero(~chosen)
    rest = rest[np.argsort(group[rest], kind="stable")]
    for pairs in np.split(rest, np.flatnonzero(np.diff(group[rest])) + 1) if len(rest) else []:
        chosen[pairs] = _assign_dense(rows[pairs], columns[pairs], gain[pairs])
    return chosen


def _assign_dense(
    rows: NDArray[np.integer], columns: NDArray[np.integer], gain: NDArray[np.float64]
) -> NDArray[np.bool_]:
    row_ids, row = np.unique(rows, return_inverse=True)
    column_ids, column = np.unique(columns, return_inverse=True)
    table = np.zeros((len(row_ids), len(column_ids)))
    table[row, column] = gain
    best_row, best_column = linear_sum_assignment(table, maximize=True)
    taken = np.zeros(table.shape, np.bool_)
    taken[best_row, best_column] = True
    return taken[row, column]
