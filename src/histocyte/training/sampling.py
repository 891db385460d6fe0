"""Which image to draw: CellViT's weights, which favour rare tissues and images with rare cells, and CISCA's copies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PANNUKE_CELLS",
    "PANNUKE_TISSUES",
    "cell_weights",
    "cellvit_weights",
    "replication_weights",
    "tissue_weights",
]

PANNUKE_TISSUES: Mapping[str, int] = {
    **{"adrenal gland": 437, "bile duct": 420, "bladder": 146, "breast": 2351, "cervix": 293, "colon": 1440},
    **{"esophagus": 424, "head and neck": 384, "kidney": 134, "liver": 224, "lung": 184, "ovarian": 146},
    **{"pancreatic": 195, "prostate": 182, "skin": 187, "stomach": 146, "testis": 196, "thyroid": 226, "uterus": 186},
}
"""Images of each tissue in all of PanNuke, by which CellViT's published sampling goes whatever its training split."""
PANNUKE_CELLS: Mapping[str, int] = {
    "neoplastic": 4191,
    "inflammatory": 4132,
    "connective": 6140,
    "dead": 232,
    "epithelial": 1528,
}
"""Images with a cell of each class there."""


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
    tissue: NDArray[np.integer],
    present: NDArray[np.bool_],
    *,
    tissue_counts: NDArray[np.integer] | None = None,
    cell_counts: NDArray[np.integer] | None = None,
    gamma: float = 0.85,
) -> NDArray[np.float64]:
    """(N,) probability of drawing each image, with replacement: tissue and cell weights, each scaled to 1, added.

    Args:
        tissue: (N,) tissue index of each image.
        present: (N, K) whether image i has a cell of class j.
        tissue_counts: (T,) images of each tissue; counted in `tissue` where None.
        cell_counts: (K,) images that have each class; counted in `present` where None.
        gamma: As above.
    """
    of_tissues = np.bincount(tissue) if tissue_counts is None else tissue_counts
    by_tissue = tissue_weights(np.maximum(of_tissues, 1), gamma=gamma)[tissue]
    by_cell = cell_weights(present, counts=cell_counts, gamma=gamma)
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
        growth: Growth of the set, PanNuke's as published.
        percentile: As published for PanNuke; 97 for CoNIC.
    """
    by_class = np.sqrt(cells.sum() / np.maximum(1, cells.sum(axis=0)))
    copies = np.where(cells > 0, by_class, 0.0).max(axis=1, initial=0.0)
    if not copies.any():
        return np.ones(len(cells))
    copies = np.minimum(copies, np.percentile(copies, percentile))
    return np.asarray(1 + (growth - 1) * copies / copies.mean())
