"""From a label map and the networks' probabilities to instances: every pixel of a nucleus has a say in its class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histocyte.core.compiled import compiled
from histocyte.core.instances import Instances
from histocyte.representations.shared.strips import strips

__all__ = ["vote", "vote_plain"]


@compiled
def _add(
    sums: NDArray[np.float64], pixels: NDArray[np.int64], labels: NDArray[np.int32], maps: NDArray[np.float32]
) -> None:
    """Add each pixel's values, of those that are numbers, to its label's row of `sums`, and count them."""
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            label = labels[row, column]
            if label > 0:
                for channel in range(maps.shape[0]):
                    value = maps[channel, row, column]
                    if np.isfinite(value):
                        sums[label, channel] += value
                        pixels[label, channel] += 1


@compiled
def _count(counts: NDArray[np.float64], labels: NDArray[np.int32], types: NDArray[np.float32]) -> None:
    """Add each pixel to the count of its most probable class, in its label's row; the first of equals."""
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            label = labels[row, column]
            if label > 0:
                best, most = -1, -np.inf
                for channel in range(types.shape[0]):
                    value = types[channel, row, column]
                    if value > most:  # no value that is not a number is
                        best, most = channel, value
                if best >= 0:
                    counts[label, best] += 1


def _majority(labels: NDArray[np.int32], types: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    """(count, K) share of each id's pixels whose most probable class it is, of those that are not background."""
    counts = np.zeros((count + 1, len(types)), np.float64)
    for strip in strips(len(labels)):
        _count(counts, labels[strip.rows], np.ascontiguousarray(types[:, strip.rows], np.float32))
    own = counts[1:, 1:]
    # Where all pixels are background, the probabilities have to tell.
    return np.where(own.any(axis=1, keepdims=True), _shares(own), _shares(_means(labels, types[1:], count)))


def _means(labels: NDArray[np.int32], maps: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """(count, C) mean of each channel over each id's pixels, of those that are numbers; 0 without any."""
    sums = np.zeros((count + 1, len(maps)), np.float64)
    pixels = np.zeros((count + 1, len(maps)), np.int64)
    for strip in strips(len(labels)):
        _add(sums, pixels, labels[strip.rows], np.ascontiguousarray(maps[:, strip.rows], np.float32))
    return sums[1:] / np.maximum(pixels[1:], 1)


def _shares(means: NDArray[np.float64]) -> NDArray[np.float32]:
    """Class means, each row made to sum to 1; equal shares where no class has any."""
    classes = np.maximum(means, 0.0)
    total = classes.sum(axis=1, keepdims=True)
    equal = np.full_like(classes, 1.0 / max(1, classes.shape[1]))
    return np.divide(classes, total, out=equal, where=total > 0).astype(np.float32)


def vote(
    labels: NDArray[np.int32],
    nucleus: NDArray[np.floating],
    types: NDArray[np.floating] | None = None,
    *,
    majority: bool = False,
) -> Instances:
    """Score and classify the instances of a label map by the mean of the probabilities over their pixels.

    Soft votes: a pixel that wavers between two classes counts for both, where a majority of hard votes would throw
    that away and give no calibrated probability.

    Args:
        labels: (H, W) int32, 0 background, ids 1..N.
        nucleus: (H, W) probability of lying in any nucleus.
        types: (K + 1, H, W) class probabilities, background first; None without classes.
        majority: Let each pixel vote for its most probable class alone, and take the class of most pixels that is not
            background, as published (Graham et al. 2019, HoVer-Net §3.3; CellViT §3.3): its probability is then the
            share of those pixels.

    Returns:
        The same labels with class probabilities (background left out, rows sum to 1) and scores. Pixels that are not
        a number do not vote.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    count = int(labels.max(initial=0))
    scores = _means(labels, np.asarray(nucleus)[None], count)[:, 0]
    probabilities = np.empty((count, 0), np.float32)
    if types is not None:
        soft = not majority
        probabilities = _shares(_means(labels, types[1:], count)) if soft else _majority(labels, types, count)
    return Instances(labels, probabilities, np.clip(scores, 0.0, 1.0).astype(np.float32))


def vote_plain(
    labels: NDArray[np.int32],
    nucleus: NDArray[np.floating],
    types: NDArray[np.floating] | None = None,
    *,
    majority: bool = False,
) -> Instances:
    """The same as `vote`, nucleus by nucleus: what the compiled version must agree with."""
    ids = range(1, int(labels.max(initial=0)) + 1)
    scores = [np.clip(np.nan_to_num(np.nanmean(nucleus[labels == i].astype(np.float64))), 0, 1) for i in ids]
    rows = []
    for i in ids if types is not None else ():
        assert types is not None
        mine = types[:, labels == i].astype(np.float64)
        seen = mine[:, ~np.isnan(mine).all(axis=0)]
        own = np.bincount(np.nan_to_num(seen, nan=-np.inf).argmax(axis=0), minlength=len(types))[1:]
        if majority and own.any():
            rows.append(own / own.sum())
            continue
        means = np.nan_to_num(np.nanmean(types[:, labels == i].astype(np.float64), axis=1))[1:].clip(0)
        rows.append(means / means.sum() if means.sum() > 0 else np.full(len(means), 1 / len(means)))
    classes = 0 if types is None else len(types) - 1
    probabilities = np.array(rows, np.float32).reshape(len(ids), classes)
    return Instances(labels, probabilities, np.array(scores, np.float32))
