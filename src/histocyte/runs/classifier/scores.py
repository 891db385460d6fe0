"""How well a classifier of cells does on held-out images: F1, AUROC, confusion, each beside the simplest guess."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.names import counted
from histocyte.pages.text import estimate_text
from histocyte.runs.classifier.cells import LabelledCells
from histocyte.statistics.bootstrap import (
    Estimate,
    Statistic,
    bootstrap_weights,
    estimate,
    estimate_each,
    few_groups,
    weighted_pool,
)
from histocyte.statistics.ranked import images_with_class, weighted_auroc

__all__ = ["ClassifierScores", "VariantScores", "score_classifier", "weighted_class_f1"]


@dataclass(frozen=True)
class VariantScores:
    """Scores of one way to tell the classes.

    Attributes:
        name: "classifier", "model's own classes" or "most frequent class".
        accuracy: Share of the cells told right.
        f1: F1 of each class; NaN where no held-out cell has it.
        macro_f1: Their mean over the classes that held-out cells have.
        auroc: AUROC of each class against the rest.
        macro_auroc: Mean of these.
    """

    name: str
    accuracy: Estimate
    f1: tuple[Estimate, ...]
    macro_f1: Estimate
    auroc: tuple[Estimate, ...]
    macro_auroc: Estimate


@dataclass(frozen=True, eq=False)
class ClassifierScores:
    """All that was measured on held-out images, on the cells that were found there.

    Attributes:
        class_names: K.
        n_cells: Held-out cells of each class.
        n_labelled: Labelled cells of held-out images, found or not.
        n_images: Held-out images with cells.
        n_groups: Patients or slides they come from; what intervals rest on.
        variants: The classifier first.
        confusion: (K, K) cells of the classifier by true class (rows) and class told (columns).
    """

    class_names: tuple[str, ...]
    n_cells: tuple[int, ...]
    n_labelled: int
    n_images: int
    n_groups: int
    variants: tuple[VariantScores, ...]
    confusion: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Plain values, None for what is undefined."""
        return {
            "classes": list(self.class_names),
            "n_cells": list(self.n_cells),
            "n_labelled": self.n_labelled,
            "n_images": self.n_images,
            "n_groups": self.n_groups,
            "confusion": self.confusion.tolist(),
            "variants": [
                {
                    "name": v.name,
                    "accuracy": v.accuracy.to_json(),
                    "macro_f1": v.macro_f1.to_json(),
                    "macro_auroc": v.macro_auroc.to_json(),
                    "f1": dict(zip(self.class_names, (e.to_json() for e in v.f1), strict=True)),
                    "auroc": dict(zip(self.class_names, (e.to_json() for e in v.auroc), strict=True)),
                }
                for v in self.variants
            ],
        }

    def interval_notes(self) -> list[str]:
        """Why scores have no interval, where any has none."""
        return few_groups(e for v in self.variants for e in (v.accuracy, v.macro_f1, v.macro_auroc, *v.f1, *v.auroc))

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows: a score a row, each way to tell the classes a column, value (95 % interval); last n."""
        total = f"{counted(sum(self.n_cells), 'cell')}, {counted(self.n_images, 'image')}"
        rows = [
            [title, *(estimate_text(getattr(v, key)) for v in self.variants), total]
            for key, title in (("accuracy", "accuracy"), ("macro_f1", "F1, mean"), ("macro_auroc", "AUROC, mean"))
        ]
        for key, title in (("f1", "F1"), ("auroc", "AUROC")):
            for i, name in enumerate(self.class_names):
                each = [getattr(v, key)[i] for v in self.variants]
                n = f"{counted(self.n_cells[i], 'cell')}, {counted(each[0].n, 'image')}"
                rows.append([f"{title}, {name}", *map(estimate_text, each), n])
        return ["score", *(v.name for v in self.variants), "n"], rows

    def confusion_table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows: a true class a row, the class told a column."""
        rows = [[name, *(f"{n:,}" for n in row)] for name, row in zip(self.class_names, self.confusion, strict=True)]
        return ["true class", *(f"told {name}" for name in self.class_names)], rows


def score_classifier(
    cells: LabelledCells,
    ways: Mapping[str, NDArray[np.floating]],
    class_names: Sequence[str],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> ClassifierScores:
    """Score ways to tell the classes of held-out cells.

    Args:
        cells: Held out, one or more.
        ways: Name → (N, K) probabilities; the first is the classifier.
        class_names: K.
        replicates: Replicates of the bootstrap over patients or slides.
        seed: Seed of the bootstrap.
    """
    images, image = np.unique(cells.image, return_inverse=True)
    groups = [cells.groups[i] for i in images]
    weights = bootstrap_weights(groups, replicates=replicates, seed=seed)
    k = len(class_names)
    counts = np.bincount(cells.types, minlength=k)
    variants = [_scored(name, p, cells.types, image, counts, weights) for name, p in ways.items()]
    first = next(iter(ways.values()))
    return ClassifierScores(
        tuple(class_names),
        tuple(int(n) for n in counts),
        int(cells.labelled.sum()),
        len(images),
        len(set(groups)),
        tuple(variants),
        _confusions(cells.types, first.argmax(axis=1), np.zeros_like(image), 1, k)[0].astype(np.int64),
    )


def _scored(
    name: str,
    probabilities: NDArray[np.floating],
    types: NDArray[np.int64],
    image: NDArray[np.int64],
    counts: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> VariantScores:
    images, k = weights.shape[1], len(counts)
    present = np.flatnonzero(counts)
    has = images_with_class(types, image, images, present)
    confusions = _confusions(types, probabilities.argmax(axis=1), image, images, k)
    f1 = estimate_each(weighted_class_f1(confusions, present), weights, defined=has)
    ranked = weighted_auroc(probabilities[:, present], np.searchsorted(present, types), image, images)
    auroc = estimate_each(ranked, weights, defined=has)
    accuracy = estimate(weighted_pool(confusions, _accuracy), weights)
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    places = present.tolist()
    each = [tuple(of[places.index(c)] if counts[c] else nothing for c in range(k)) for of in (f1[:-1], auroc[:-1])]
    return VariantScores(name, accuracy, each[0], f1[-1], each[1], auroc[-1])


def weighted_class_f1(confusions: NDArray[np.float64], classes: NDArray[np.integer]) -> Statistic:
    """F1 of some classes from (I, K, K) counts by true and told class, and last their mean.

    NaN for a class that no cell of a resample has, and for the mean then.
    """

    def formula(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        right = np.diagonal(totals, axis1=1, axis2=2)[:, classes]
        true, told = totals.sum(axis=2)[:, classes], totals.sum(axis=1)[:, classes]
        f1 = np.where(true > 0, 2 * right / np.where(true > 0, true + told, 1), np.nan)
        return np.concatenate([f1, f1.mean(axis=1, keepdims=True)], axis=1)

    return weighted_pool(confusions, formula)


def _accuracy(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    cells = totals.sum(axis=(1, 2))
    return np.asarray(np.where(cells > 0, np.trace(totals, axis1=1, axis2=2) / np.where(cells > 0, cells, 1), np.nan))


def _confusions(
    types: NDArray[np.int64], told: NDArray[np.integer], image: NDArray[np.int64], images: int, k: int
) -> NDArray[np.float64]:
    """(I, K, K) cells of each image by true and told class."""
    flat = (image * k + types) * k + told
    return np.bincount(flat, minlength=images * k * k).reshape(images, k, k).astype(np.float64)
