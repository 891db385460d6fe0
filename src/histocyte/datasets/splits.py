"""Training and validation, parted so that no patient or slide is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from histocyte.core.errors import InputError
from histocyte.core.names import counted
from histocyte.datasets.sample import Sample

__all__ = ["split_by_group"]

TCGA = "TCGA-"
"""Barcodes of patients of The Cancer Genome Atlas begin so, whatever set has their images."""


def split_by_group(
    samples: Sequence[Sample], *, fraction: float = 0.2, seed: int = 0, fold: tuple[int, int] | None = None
) -> tuple[list[Sample], list[Sample]]:
    """Hold out whole groups of each data set.

    In every data set by itself, the groups are shuffled by the seed and the first `fraction` of them (at least one, and
    never all) are held out. Or one part of as many as there are folds, so that over all folds each group is held out
    once. A patient of TCGA is the same in every set (MoNuSAC, MoNuSeg and BRCA-M2C share some): held out of one, held
    out of all.

    Args:
        samples: From one or more data sets.
        fraction: Share of the groups of each set held out.
        seed: Seed of the shuffle; with the group names it alone decides the split.
        fold: (k, n) holds out the k-th of n parts, k from 1, in place of a fraction.

    Returns:
        Training and validation samples, in the given order.

    Raises:
        InputError: A data set has a single group, so that nothing can be held out, or fewer groups than folds.
    """
    held: set[tuple[str, str]] = set()
    for source in sorted({s.source for s in samples}):
        groups = sorted({s.group for s in samples if s.source == source})
        if len(groups) < 2:
            raise InputError(f"'{source}' has one group ('{groups[0]}'); to hold out a part it needs two or more.")
        order = np.random.default_rng(seed).permutation(len(groups))
        if fold is None:
            part = order[: min(len(groups) - 1, max(1, round(fraction * len(groups))))]
        else:
            number, folds = fold
            if len(groups) < folds:
                raise InputError(f"'{source}' has {counted(len(groups), 'group')}, too few for {folds} folds.")
            part = order[number - 1 :: folds]
        held |= {(source, groups[i]) for i in part}
    patients = {group for _, group in held if group.startswith(TCGA)}
    away = [(s.source, s.group) in held or s.group in patients for s in samples]
    return [s for s, is_held in zip(samples, away, strict=True) if not is_held], [
        s for s, is_held in zip(samples, away, strict=True) if is_held
    ]
