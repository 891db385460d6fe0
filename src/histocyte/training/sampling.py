"""Which image to draw: CellViT's weights, which favour rare tissues and images with rare cells, and CISCA's copies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cell_weights", "cellvit_weights", "replication_weights", "tissue_weights"]


def tissue_weights(counts: NDArray[np.integer], *, gamma: float = 0.85) -> NDArray[np.float64]:
    """(T,) weight of an image of each tissue: K / (γ N + (1 - γ) K) with K = Σ N (Hörst et al. 2024, eq. 10).

    Args:
        counts: (T,) images of each tissue, N.
        gamma: 0 weighs all alike, 1 balances the tissues fully.
    """
    total = counts.sum()
    return np.asarray(total / (gamma * counts + (1 - gamma) * total))


def cell_weights(
    present: NDArray[np.bool_], *, counts: NDArray[np.integer] | None = None, gamma: float = 0.85
) -> NDArray[np.float64]:
    """(N,) weight of each image by the cell classes in it (Hörst et al. 2024, eq. 11).

    w = (1 - γ) max_j c_j + γ Σ_j c_j w_j, with w_j as of tissues; an image without cells gets the least weight of those
    with.

    Args:
        present: (N, K) whether image i has a cell of class j.
        counts: (K,) images that have each class; counted in `present` where None.
        gamma: 0 weighs all alike, 1 balances the classes fully.
    """
    counts = present.sum(axis=0) if counts is None else counts
    # A class that no image has cannot be drawn; its weight is never used.
    by_class = tissue_weights(np.maximum(counts, 1), gamma=gamma)
    weights = (1 - gamma) * present.max(axis=1, initial=False) + gamma * (present * by_class).sum(axis=1)
    some = weights[weights > 0]
    return np.where(weights > 0, weights, some.min() if len(some) else 1.0)


def cellvit_weights(
    tissue: NDArray[np.integer], present: NDArray[np.bool_], *, gamma: float = 0.85
) -> NDArray[np.float64]:
    """(N,) probability of drawing each image, with replacement: tissue and cell weights, each scaled to 1, added.

    Args:
        tissue: (N,) tissue index of each image.
        present: (N, K) whether image i has a cell of class j.
        gamma: As above.
    """
    by_tissue = tissue_weights(np.maximum(np.bincount(tissue), 1), gamma=gamma)[tissue]
    by_cell = cell_weights(present, gamma=gamma)
    weights = by_tissue / by_tissue.max() + by_cell / by_cell.max()
    return np.asarray(weights / weights.sum())


def replication_weights(
    cells: NDArray[np.integer], *, growth: float = 16_035 / 5_688, percentile: float = 98.5
) -> NDArray[np.float64]:
    """(N,) how often an image is there, with its copies (Vadori et al. 2024, CISCA, arXiv 2409.04175).

    Copies are in proportion to √(all cells / cells of the class), of the rarest class in the image, clipped at a
    percentile of the images; together they make the set so many times as large.

    Args:
        cells: (N, K) cells of each class in each image.
        growth: Of the set, PanNuke's as published.
        percentile: As published for PanNuke; 97 for CoNIC.
    """
    by_class = np.sqrt(cells.sum() / np.maximum(1, cells.sum(axis=0)))
    copies = np.where(cells > 0, by_class, 0.0).max(axis=1, initial=0.0)
    if not copies.any():
        return np.ones(len(cells))
    copies = np.minimum(copies, np.percentile(copies, percentile))
    return np.asarray(1 + (growth - 1) * copies / copies.mean())
