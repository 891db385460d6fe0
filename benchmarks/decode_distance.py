"""Distance maps to cells: histocyte, both ways, against the published steps written down with scikit-image and SciPy.

    python benchmarks/decode_distance.py [--data FOLDER] [--nuclei 500 2500] [--tiles 2] [--repeats 5]

Tiles are 1024² px of packed ellipses, about as many as asked, or with --data real label maps, NAME.npz with `inst`
(H, W). Maps are written from the labels and spoilt as a network's are: blurred, with smooth and rough noise. All get
the same float32 arrays on one thread and give a label map; ours also solid one-piece cells and their scores. CISCA's
own code is not run, for its licence: `reference` follows its published steps, and is checked to find what it found on
real cells. Processor time, so that other programs on the machine count for little; medians over all tiles and repeats,
first run left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import disk, reconstruction, remove_small_holes, remove_small_objects, skeletonize
from skimage.segmentation import watershed

from histocyte.core.instances import Labels
from histocyte.core.labels import clean_instances
from histocyte.metrics.panoptic import panoptic_counts
from histocyte.representations.distance.scheme import Distance
from histocyte.testing.scenes import packed_ellipses

SIDE = 1024
Maps = Mapping[str, np.ndarray]


def _stretched(plane: np.ndarray) -> np.ndarray:
    low, high = plane.min(), plane.max()
    return (plane - low) / (high - low) if high > low else np.zeros(plane.shape)


def reference(maps: Maps, *, min_area_px: int = 80) -> np.ndarray:
    """CISCA's post-processing at 40x, step by step (arXiv 2409.04175)."""
    contour, body, background = maps["semantic"]
    inside = contour + body >= 0.5
    reach = np.arange(-2, 3)
    right, down = np.meshgrid(reach, reach)
    square = np.maximum(right**2 + down**2, 1)
    first = (right + down) / square
    kernels = (right / square, down / square, first, np.rot90(first))
    steep = [_stretched(cv2.filter2D(_stretched(p), -1, k)) for p, k in zip(maps["distance"], kernels, strict=True)]
    edges = np.clip(1 - np.min(steep, axis=0) - ~inside, 0, None) >= 0.57
    slope = -cv2.GaussianBlur((~edges & inside).astype(np.float64), (3, 3), 0)
    seeds = (body > contour) & (body > background)
    seeds[ndimage.binary_dilation(skeletonize(edges), np.ones((5, 5))) & edges] = False
    seeds = remove_small_objects(seeds, max_size=min_area_px // 4 - 1)
    eroded = ndimage.binary_erosion(seeds, disk(2), border_value=1)
    lost = seeds & (reconstruction(eroded.astype(np.uint8), seeds.astype(np.uint8)) == 0)
    cores = eroded | lost
    near = np.where(cores, label(ndimage.binary_dilation(cores, disk(1)), connectivity=2), 0)
    markers = label(remove_small_objects(near, max_size=2) > 0, connectivity=2)
    mask = ndimage.binary_opening(remove_small_holes(contour + body > background, max_size=4), np.ones((3, 3)))
    cells = watershed(0.5 * (1 - body) + 0.5 * (1 + slope), markers, mask=mask, connectivity=2)
    return label(remove_small_objects(cells, max_size=min_area_px - 1)).astype(np.int32)


def ellipses(nuclei: int, seed: int) -> np.ndarray:
    """A tile of about so many nuclei, as many as there is room for."""
    return clean_instances(packed_ellipses((SIDE, SIDE), nuclei, seed).instances)


def real_tiles(folder: Path, count: int) -> list[np.ndarray]:
    """The label maps with the most nuclei, mirrored at their edges to the tile's size."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            found.append(stored["inst"].astype(np.int32)[:SIDE, :SIDE])
    found.sort(key=lambda labels: -len(np.unique(labels)))
    return [
        clean_instances(np.pad(labels, [(0, SIDE - n) for n in labels.shape], mode="symmetric"))
        for labels in found[:: max(1, len(found) // count)][:count]
    ]


def network_maps(labels: np.ndarray, seed: int) -> Maps:
    """Target maps blurred and with noise."""
    rng = np.random.default_rng(seed)
    target = Distance().encode(Labels(labels))

    def cloud(sigma: float) -> np.ndarray:
        field = cv2.GaussianBlur(rng.standard_normal(labels.shape).astype(np.float32), (0, 0), sigma)
        return field / field.std()

    distance = [cv2.GaussianBlur(p, (0, 0), 1.2) + 0.06 * cloud(2.5) + 0.03 * cloud(0.5) for p in target["distance"]]
    semantic = [np.clip(cv2.GaussianBlur(p, (0, 0), 1.0) + 0.1 * cloud(2.0), 1e-3, None) for p in target["semantic"]]
    stacked = np.stack(semantic) / np.sum(semantic, axis=0)
    return {"semantic": stacked.astype(np.float32), "distance": np.stack(distance).astype(np.float32)}


def _quality(truths: Sequence[np.ndarray], founds: Sequence[np.ndarray]) -> float:
    return float(np.mean([panoptic_counts(t, f).quality().pq for t, f in zip(truths, founds, strict=True)]))


def compare(truths: Sequence[np.ndarray], repeats: int) -> list[dict[str, object]]:
    """One row for each program: time, cells found, agreement with the reference and the truth."""
    ways: dict[str, Callable[[Maps], np.ndarray]] = {
        "histocyte": lambda maps: Distance().decode(maps).labels,
        "histocyte, compat": lambda maps: Distance(compat=True).decode(maps).labels,
        "scikit-image": reference,
    }
    tiles = [network_maps(labels, seed) for seed, labels in enumerate(truths)]
    found: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for maps in tiles:
        for repeat in range(repeats + 1):  # in turns, so that a machine growing slower meanwhile shows in all
            for name, way in ways.items():
                start = time.process_time()
                labels = way(maps)
                if repeat:
                    taken[name].append(1e3 * (time.process_time() - start))
                else:
                    found[name].append(labels)
    slowest = float(np.median(taken["scikit-image"]))
    return [
        {
            "program": name,
            "ms_per_tile": round(float(np.median(taken[name])), 1),
            "times_faster": round(slowest / float(np.median(taken[name])), 1),
            "cells": int(sum(len(np.unique(labels)) - 1 for labels in found[name])),
            "bpq_to_reference": round(_quality(found["scikit-image"], found[name]), 4),
            "bpq_to_truth": round(_quality(truths, found[name]), 4),
        }
        for name in ways
    ]


def show(truths: Sequence[np.ndarray], rows: Sequence[Mapping[str, object]]) -> None:
    """Print `compare`'s rows."""
    true = sum(int(labels.max()) for labels in truths)
    print(f"{len(truths)} tiles of {SIDE} x {SIDE} px with {true} nuclei; one thread, processor time")
    print(f"{'':20}{'ms/tile':>9}{'faster':>9}{'cells':>8}{'bPQ to reference':>18}{'bPQ to truth':>14}")
    for row in rows:
        print(
            f"{row['program']:20}{row['ms_per_tile']:>9}{row['times_faster']:>8}x{row['cells']:>8}"
            f"{row['bpq_to_reference']:>18.4f}{row['bpq_to_truth']:>14.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of label maps, instead of packed ellipses")
    parser.add_argument("--nuclei", type=int, nargs="+", default=[500, 2500], help="about so many on a tile")
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.data:
        fields = [real_tiles(arguments.data, arguments.tiles)]
    else:
        fields = [[ellipses(n, seed) for seed in range(arguments.tiles)] for n in arguments.nuclei]
    results = [compare(truths, arguments.repeats) for truths in fields]
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for truths, rows in zip(fields, results, strict=True):
        show(truths, rows)


if __name__ == "__main__":
    main()
