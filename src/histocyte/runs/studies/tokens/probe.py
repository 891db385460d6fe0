"""What a linear reader gets out of the vectors: the class, the place in the tile, the image.

The probe is that of CellViT (Hörst et al. 2024, doi 10.1016/j.media.2024.103143, section 5.4) as far as it is known:
multinomial logistic regression on standardised vectors. How strongly it is held back is chosen on the learning side
alone, by cross-validation over patients or slides.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError, require
from histocyte.runs.studies.tokens.table import TokenTable
from histocyte.statistics.bootstrap import Estimate, bootstrap_weights, estimate, estimate_each, weighted_mean
from histocyte.statistics.ranked import (
    images_with_class,
    weighted_auroc,
    weighted_balanced_accuracy,
    weighted_place_r_squared,
)

__all__ = ["ClassScores", "ImageCheck", "PlaceCheck", "class_probe", "image_check", "place_check"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse penalties to choose from; weaker ones only learn the learning images by heart."""
FOLDS = 3
RIDGE = 100.0
"""Penalty on standardised vectors: little beside thousands of nuclei, enough for features that say the same twice."""
PERMUTATIONS = 20
GAP_UM = 16.0
"""Between the two halves of an image: a token's side and more, so that no nucleus has part of its vector in both."""
LEAST_PER_HALF = 20
"""Nuclei; images with fewer are left out of the check."""
MOST_PER_HALF = 200
"""Nuclei of each image that are learnt from, the same number of all as far as they have them."""
IMAGE_STRENGTH = 1e-2


@dataclass(frozen=True)
class ClassScores:
    """How well classes are told apart.

    Attributes:
        auroc: AUROC of each class against the rest, by name.
        macro: Their mean.
        balanced_accuracy: Mean share of each class that is told right.
        strength: Inverse penalty that was chosen.
        n_learnt: Nuclei learnt from.
        n_scored: Nuclei scored, by class.
        images_learnt: Images learnt from.
        images_scored: Images scored.
    """

    auroc: dict[str, Estimate]
    macro: Estimate
    balanced_accuracy: Estimate
    strength: float
    n_learnt: int
    n_scored: dict[str, int]
    images_learnt: int
    images_scored: int


@dataclass(frozen=True)
class PlaceCheck:
    """Whether the vectors give away where in its tile a nucleus lies.

    Attributes:
        x: R² within images not learnt from.
        y: The same for the other direction.
        control_x: Highest R² of `PERMUTATIONS` probes that learnt places shuffled within each image.
        control_y: The same for the other direction.
        n: Nuclei scored.
    """

    x: Estimate
    y: Estimate
    control_x: float
    control_y: float
    n: int


@dataclass(frozen=True)
class ImageCheck:
    """Whether the vectors give away which image a nucleus is from.

    Attributes:
        accuracy: Mean over images of the share of nuclei told right, learnt on one half of each image and scored on the
            other, both ways.
        control: The same, having learnt shuffled images.
        chance: One in as many as there are images.
        n_images: Images in the check.
        n: Nuclei scored, both ways together.
        left_out: Images with too few nuclei.
    """

    accuracy: Estimate
    control: Estimate
    chance: float
    n_images: int
    n: int
    left_out: tuple[str, ...]


def class_probe(
    table: TokenTable,
    learnt: NDArray[np.bool_],
    class_names: Sequence[str],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> ClassScores:
    """Learn the classes of nuclei of some images, and score them on the others.

    Args:
        table: Nuclei; those of unknown class are left out.
        learnt: (I,) whether an image is learnt from.
        class_names: K.
        replicates: Replicates of the bootstrap over patients or slides.
        seed: Seed of the bootstrap.

    Raises:
        InputError: Fewer than two classes among those learnt.
    """
    known = table.take(table.types > 0)
    ours = learnt[known.image]
    left, right = known.take(ours), known.take(~ours)
    present = np.unique(left.types)
    if len(present) < 2:
        raise InputError(
            "The images to learn from have fewer than two classes of nuclei; there is nothing to tell apart."
        )
    # A class that was never learnt cannot be told.
    right = right.take(np.isin(right.types, present))
    kept = [c for c in present if (right.types == c).any()]
    if len(kept) < 2:
        raise InputError("The held-out images have fewer than two of the classes learnt; there is nothing to score.")
    names = [class_names[c - 1] for c in kept]
    strength = _choose_strength(left)
    probe = _fit(left.tokens, left.types, strength)
    probabilities = probe.predict_proba(right.tokens)
    columns = [list(probe.classes_).index(c) for c in kept]
    images, image = np.unique(right.image, return_inverse=True)
    types = np.searchsorted(kept, right.types)
    found = np.array([kept.index(c) if c in kept else -1 for c in probe.classes_])[probabilities.argmax(axis=1)]
    weights = bootstrap_weights([table.groups[i] for i in images], replicates=replicates, seed=seed)
    has = images_with_class(types, image, len(images), range(len(kept)))
    *each, macro = estimate_each(
        weighted_auroc(probabilities[:, columns], types, image, len(images)), weights, defined=has
    )
    balanced = estimate(weighted_balanced_accuracy(found, types, image, len(images), len(kept)), weights)
    return ClassScores(
        dict(zip(names, each, strict=True)),
        macro,
        balanced,
        strength,
        len(left),
        {name: int((types == c).sum()) for c, name in enumerate(names)},
        len(np.unique(left.image)),
        len(images),
    )


def place_check(table: TokenTable, learnt: NDArray[np.bool_], *, replicates: int = 1000, seed: int = 0) -> PlaceCheck:
    """Read the place in the tile off the vectors by ridge regression, on images that it has not learnt from.

    Within images: vectors are standardised over their image, and places taken from its mean. Otherwise a slide's stain,
    which shifts and spreads all of its vectors, would spoil the prediction and hide what they give away.
    """
    ours = learnt[table.image]
    centred = _less_mean(table.tokens, table.image, len(table.names))
    spread = np.sqrt(_means(centred**2, table.image, len(table.names)))[table.image]
    tokens = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    place = _less_mean(table.tile_place, table.image, len(table.names))
    table = replace(table, tokens=tokens.astype(np.float32), tile_place=place)
    left, right = table.take(ours), table.take(~ours)
    images, image = np.unique(right.image, return_inverse=True)
    weights = bootstrap_weights([table.groups[i] for i in images], replicates=replicates, seed=seed)
    rng = np.random.default_rng(seed)
    orders = [_shuffled_within(left.image, rng) for _ in range(PERMUTATIONS)]
    results: list[tuple[Estimate, float]] = []
    for axis in (0, 1):
        place = left.tile_place[:, axis]
        targets = np.stack([place, *(place[order] for order in orders)], axis=1)
        found = _ridge(left.tokens, targets, right.tokens)
        true, *controls = estimate_each(
            weighted_place_r_squared(right.tile_place[:, axis], list(found.T), image, len(images)), weights
        )
        results.append((true, max(c.value for c in controls)))
    (x, control_x), (y, control_y) = results
    return PlaceCheck(x, y, control_x, control_y, len(right))


def image_check(table: TokenTable, *, replicates: int = 1000, seed: int = 0) -> ImageCheck | None:
    """Tell a nucleus' image from its vector, having seen the other half of each image; None with fewer than two images.

    The halves are left and right (upper and lower where the image is taller), with a gap between them, and not drawn at
    random: neighbours share tokens, and their context.
    """
    half = _halves(table)
    counts = np.stack([np.bincount(table.image[half == h], minlength=len(table.names)) for h in (0, 1)])
    enough: NDArray[np.bool_] = counts.min(axis=0) >= LEAST_PER_HALF
    left_out = tuple(name for name, kept in zip(table.names, enough, strict=True) if not kept)
    images = np.flatnonzero(enough)
    if len(images) < 2:
        return None
    rng = np.random.default_rng(seed)
    right, control = np.zeros(len(images)), np.zeros(len(images))
    scored = np.zeros(len(images))
    for learn, score in ((0, 1), (1, 0)):
        chosen = np.concatenate([_some(np.flatnonzero((half == learn) & (table.image == i)), rng) for i in images])
        tested = np.flatnonzero((half == score) & enough[table.image])
        truth = np.searchsorted(images, table.image[tested])
        for sums, labels in (
            (right, table.image[chosen]),
            (control, rng.permutation(table.image[chosen])),
        ):
            probe = _fit(table.tokens[chosen], labels, IMAGE_STRENGTH, balanced=True)
            hit = probe.predict(table.tokens[tested]) == table.image[tested]
            sums += np.bincount(truth, hit, len(images))
        scored += np.bincount(truth, minlength=len(images))
    weights = bootstrap_weights([table.groups[i] for i in images], replicates=replicates, seed=seed)
    accuracy, by_chance = estimate_each(weighted_mean(np.stack([right, control], axis=1) / scored[:, None]), weights)
    return ImageCheck(accuracy, by_chance, 1 / len(images), len(images), int(scored.sum()), left_out)


def _choose_strength(table: TokenTable) -> float:
    """The inverse penalty with the lowest loss on groups of images left out in turn; the strongest of few groups."""
    groups = np.unique([table.groups[i] for i in np.unique(table.image)])
    number = {group: i for i, group in enumerate(np.random.default_rng(0).permutation(groups))}
    fold = np.array([number.get(g, 0) for g in table.groups])[table.image] % FOLDS
    losses = np.zeros(len(STRENGTHS))
    for f in range(FOLDS):
        inside, outside = fold != f, fold == f
        classes = np.unique(table.types[inside])
        outside &= np.isin(table.types, classes)
        if len(classes) < 2 or not outside.any():
            continue
        for i, strength in enumerate(STRENGTHS):
            probe = _fit(table.tokens[inside], table.types[inside], strength)
            p = probe.predict_proba(table.tokens[outside])
            truth = p[np.arange(len(p)), np.searchsorted(probe.classes_, table.types[outside])]
            losses[i] -= np.log(np.maximum(truth, 1e-12)).sum()
    return STRENGTHS[int(losses.argmin())]


def _fit(x: NDArray[np.floating], y: NDArray[np.integer], strength: float, *, balanced: bool = False) -> Any:
    """A standardising multinomial logistic regression."""
    linear = require("sklearn.linear_model", extra="study")
    pipeline = require("sklearn.pipeline", extra="study")
    preprocessing = require("sklearn.preprocessing", extra="study")
    model = linear.LogisticRegression(C=strength, max_iter=300, class_weight="balanced" if balanced else None)
    probe = pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    with warnings.catch_warnings():
        # What is left to gain after 300 steps is far below what images differ by.
        warnings.simplefilter("ignore", require("sklearn.exceptions", extra="study").ConvergenceWarning)
        return probe.fit(x.astype(np.float64), y)


def _ridge(x: NDArray[np.floating], targets: NDArray[np.float64], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Predictions (M, T) for other vectors (M, D) from ridge regression of T targets (N, T)."""
    mean, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1
    z, shift = (x - mean) / spread, targets.mean(axis=0)
    gram = z.T @ z + RIDGE * np.eye(z.shape[1])
    return np.asarray((other - mean) / spread @ np.linalg.solve(gram, z.T @ (targets - shift)) + shift)


def _less_mean(values: NDArray[np.floating], image: NDArray[np.int64], images: int) -> NDArray[np.float64]:
    """(N, D) less the mean of each image."""
    return np.asarray(values - _means(values, image, images)[image], np.float64)


def _means(values: NDArray[np.floating], image: NDArray[np.int64], images: int) -> NDArray[np.float64]:
    """(I, D) mean of each image."""
    count = np.maximum(np.bincount(image, minlength=images), 1)[:, None]
    return np.asarray(np.stack([np.bincount(image, column, images) for column in values.T], axis=1) / count)


def _shuffled_within(image: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """An order of all nuclei in which those of an image change places with one another only."""
    order = np.arange(len(image))
    for i in np.unique(image):
        these = np.flatnonzero(image == i)
        order[these] = rng.permutation(these)
    return order


def _halves(table: TokenTable) -> NDArray[np.int64]:
    """(N,) 0 and 1 for the halves of the image's longer side, -1 within the gap."""
    axis = (table.size_um[:, 1] > table.size_um[:, 0]).astype(np.int64)[table.image]
    from_middle = (table.place[np.arange(len(table)), axis] - 0.5) * table.size_um[table.image, axis]
    return np.where(np.abs(from_middle) < GAP_UM / 2, -1, (from_middle > 0).astype(np.int64))


def _some(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= MOST_PER_HALF else rng.choice(rows, MOST_PER_HALF, replace=False)
