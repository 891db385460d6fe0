"""Claim: scoring instances costs milliseconds, whatever their number.

Compares panoptic counts from one joint histogram with the plain way of a mask for every pair of instances that meet,
and centroid matching among neighbours with the Hungarian method on the full matrix, in the same run; both must agree.

    python benchmarks/metrics.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from histocyte.metrics.aji import aji_plus_of
from histocyte.metrics.detection import centroids, match_centroids
from histocyte.metrics.overlap import overlap_of
from histocyte.metrics.panoptic import PanopticCounts, panoptic_counts


def nuclei(side: int, spacing: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A crowded truth and a result: discs on a shaken lattice, the same moved a little, some missed."""
    lattice = np.stack(np.meshgrid(*2 * [np.arange(spacing, side - spacing, spacing)]), axis=-1).reshape(-1, 2)
    centres = lattice + rng.normal(0, spacing / 8, lattice.shape)
    radii = rng.uniform(0.35, 0.55, len(centres)) * spacing
    maps = []
    for shift, kept in ((0.0, 1.0), (spacing / 10, 0.95)):
        labels = np.zeros((side, side), np.int32)
        for i, (centre, radius) in enumerate(zip(centres + rng.normal(0, shift, centres.shape), radii, strict=True), 1):
            if rng.random() > kept:
                continue
            low = np.maximum(np.floor(centre - radius).astype(int), 0)
            patch = labels[low[0] : low[0] + 2 * int(radius) + 3, low[1] : low[1] + 2 * int(radius) + 3]
            rows, columns = np.indices(patch.shape)
            patch[(rows + low[0] - centre[0]) ** 2 + (columns + low[1] - centre[1]) ** 2 < radius**2] = i
        maps.append(labels)
    return maps[0], maps[1]


def counts_by_masks(truth: np.ndarray, found: np.ndarray) -> PanopticCounts:
    """The plain reference: a mask of the image for every instance, compared with every one that it meets."""
    found_masks = {i: found == i for i in np.unique(found) if i}
    tp, iou_sum, n_truth = 0, 0.0, 0
    for i in np.unique(truth):
        if i == 0:
            continue
        n_truth += 1
        mask = truth == i
        for j in np.unique(found[mask]):
            if j == 0:
                continue
            iou = np.sum(mask & found_masks[j]) / np.sum(mask | found_masks[j])
            tp, iou_sum = tp + int(iou > 0.5), iou_sum + float(iou) * (iou > 0.5)
    return PanopticCounts(tp, len(found_masks) - tp, n_truth - tp, iou_sum)


def timed(function: Callable[[], Any], repeats: int = 5) -> tuple[float, Any]:
    """Least CPU time of some runs, seconds (steadier than wall time on a shared machine), and the result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def main() -> None:
    heads = ("image", "nuclei", "PQ ms", "masks ms", "x", "AJI+ ms", "near ms", "full ms", "x")
    widths = (12, 7, 8, 9, 6, 8, 8, 8, 6)
    print(" ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    rng = np.random.default_rng(0)
    for side, spacing in ((256, 24), (256, 12), (512, 16), (1000, 16), (2000, 16), (4000, 16)):
        truth, found = nuclei(side, spacing, rng)
        n = len(np.unique(truth)) - 1
        fast, ours = timed(lambda: panoptic_counts(truth, found))  # noqa: B023
        slow = float("nan")
        if side <= 1000:
            slow, plain = timed(lambda: counts_by_masks(truth, found), 1)  # noqa: B023
            assert (ours.tp, ours.fp, ours.fn) == (plain.tp, plain.fp, plain.fn)
            assert np.isclose(ours.iou_sum, plain.iou_sum, rtol=1e-12)
        overlap = overlap_of(truth, found)
        jaccard, _ = timed(lambda: aji_plus_of(overlap))  # noqa: B023
        points = centroids(truth)[1], centroids(found)[1]
        near, matched = timed(lambda: match_centroids(*points, radius_px=6, mode="max_cardinality"))  # noqa: B023
        full, hungarian = float("nan"), None
        if n <= 5000:
            full, hungarian = timed(lambda: match_centroids(*points, radius_px=6), 1)  # noqa: B023
            assert matched.counts().tp >= hungarian.counts().tp
        cells = (fast, slow, slow / fast, jaccard, near, full, full / near)
        scale = (1e3, 1e3, 1, 1e3, 1e3, 1e3, 1)
        texts = [f"{v * s:.1f}" if np.isfinite(v) else "–" for v, s in zip(cells, scale, strict=True)]
        line = (f"{side}² px", str(n), *texts)
        print(" ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)))


if __name__ == "__main__":
    main()
