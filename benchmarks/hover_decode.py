"""Hover maps to cell polygons: histocyte against the PyPI package `cellvit`, on the same maps.

    python benchmarks/hover_decode.py [--data FOLDER] [--peer-python PATH] [--tiles 4] [--repeats 5]

FOLDER holds label maps, NAME.npz with `inst` (H, W); without it, tiles are packed ellipses. Maps are written from the
labels and spoilt as a network's are: blurred, with smooth and rough noise. Both sides get the same arrays, run on one
thread, and give instances with class and outline. The peer needs old numpy and OpenCV, so it runs in a Python of its
own: the one given, or one made with `uv` in the user's cache folder. Processor time, so that other programs on the
machine count for little; medians over all tiles and repeats, first run left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from _peer import SINGLE_THREAD, peer_python

from histocyte.core.instances import Labels
from histocyte.core.labels import clean_instances
from histocyte.core.outlines import trace_outlines
from histocyte.metrics.panoptic import panoptic_counts
from histocyte.representations.hover.scheme import Hover

SIDE = 1024
CLASSES = 4
PEER = "cellvit 1.0.9"
PEER_NEEDS = ["numpy<2", "opencv-python-headless==4.7.0.72", "scikit-image==0.24.0", "scipy", "pandas"]

# Runs in the peer's Python. Its post-processing of one image is numpy alone, but its module also imports its whole
# inference engine (Ray, torch): those are stood in for by empty modules.
PEER_PROGRAM = r"""
import sys, time, types
import numpy as np

class Absent(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})

for name in ("ray", "torch", "torch.nn", "torch.nn.functional", "einops", "cellvit.data.dataclass.wsi"):
    sys.modules[name] = Absent(name)
sys.modules["torch"].nn = sys.modules["torch.nn"]
sys.modules["torch.nn"].functional = sys.modules["torch.nn.functional"]
import cv2
cv2.setNumThreads(1)
from cellvit.inference.postprocessing_numpy import DetectionCellPostProcessor

with np.load(sys.argv[1]) as stored:
    tiles = {name: stored[name] for name in stored.files}
repeats, result = int(sys.argv[3]), {}
for i in range(len(tiles) // 3):
    nucleus, hover, types_ = (tiles[f"{i}/{name}"] for name in ("nucleus", "hover", "types"))
    milliseconds = []
    for _ in range(repeats + 1):
        start = time.process_time()
        background = 1 - nucleus[0]
        binary = np.argmax(np.stack([background, nucleus[0]]), axis=0)
        maps = np.stack([np.argmax(types_, axis=0), binary, hover[0], hover[1]], axis=-1)
        processor = DetectionCellPostProcessor(None, nr_types=len(types_))
        labels, cells = processor.post_process_single_image(maps)
        milliseconds.append(1e3 * (time.process_time() - start))
    result[f"{i}/labels"] = np.asarray(labels, np.int32)
    result[f"{i}/ms"] = np.array(milliseconds[1:])
np.savez(sys.argv[2], **result)
"""


def packed_ellipses(seed: int) -> np.ndarray:
    """About 1,500 nuclei of a crowded tile, many touching."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((SIDE, SIDE), np.int32)
    for i in range(1, 2200):
        x, y, a, b, angle = *rng.uniform(0, SIDE, 2), *rng.uniform(5, 13, 2), rng.uniform(0, 180)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.ellipse(mask, ((float(x), float(y)), (2 * float(a), 2 * float(b)), float(angle)), 1, -1)
        free = (mask > 0) & (labels == 0)
        if free.sum() > 0.7 * np.pi * a * b:
            labels[free] = i
    return clean_instances(labels)


def real_tiles(folder: Path, count: int) -> list[np.ndarray]:
    """The label maps with the most nuclei, mirrored at their edges to the tile's size."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            found.append(stored["inst"].astype(np.int32)[:SIDE, :SIDE])
    found.sort(key=lambda labels: -len(np.unique(labels)))
    chosen = found[:: max(1, len(found) // count)][:count]
    return [
        clean_instances(np.pad(labels, [(0, SIDE - n) for n in labels.shape], mode="symmetric")) for labels in chosen
    ]


def network_maps(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Target maps blurred and with noise, as float32."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(1, CLASSES + 1, labels.max() + 1).astype(np.uint8)
    target = Hover(CLASSES).encode(Labels(labels, kinds))

    def cloud(sigma: float) -> np.ndarray:
        field = cv2.GaussianBlur(rng.standard_normal(labels.shape).astype(np.float32), (0, 0), sigma)
        return field / field.std()

    hover = [cv2.GaussianBlur(plane, (0, 0), 1.2) + 0.06 * cloud(2.5) + 0.03 * cloud(0.5) for plane in target["hover"]]
    nucleus = cv2.GaussianBlur(target["nucleus"][0], (0, 0), 1.0) + 0.1 * cloud(2.0)
    types = [np.clip(cv2.GaussianBlur(plane, (0, 0), 2.0) + 0.05 * cloud(3.0), 1e-3, None) for plane in target["types"]]
    stacked = np.stack(types) / np.sum(types, axis=0)
    maps = {"nucleus": np.clip(nucleus, 0, 1)[None], "hover": np.stack(hover), "types": stacked}
    return {name: values.astype(np.float32) for name, values in maps.items()}


def run_peer(python: Path, tiles: list[dict[str, np.ndarray]], repeats: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and milliseconds of each tile."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder) / "maps.npz", Path(folder) / "labels.npz"
        np.savez(given, **{f"{i}/{name}": values for i, maps in enumerate(tiles) for name, values in maps.items()})
        command = [str(python), "-c", PEER_PROGRAM, str(given), str(got), str(repeats)]
        subprocess.run(command, check=True, env={**os.environ, **SINGLE_THREAD})
        with np.load(got) as stored:
            return [(stored[f"{i}/labels"], stored[f"{i}/ms"]) for i in range(len(tiles))]


def run_ours(
    representation: Hover, tiles: list[dict[str, np.ndarray]], repeats: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and milliseconds of each tile, decoding and outlines together."""
    results = []
    for maps in tiles:
        milliseconds = []
        for _ in range(repeats + 1):
            start = time.process_time()
            found = representation.decode(maps)
            trace_outlines(found.labels, clean=True)
            milliseconds.append(1e3 * (time.process_time() - start))
        results.append((found.labels, np.array(milliseconds[1:])))
    return results


def mean_quality(truths: list[np.ndarray], founds: list[np.ndarray]) -> float:
    """Binary panoptic quality, mean over tiles."""
    return float(np.mean([panoptic_counts(t, f).quality().pq for t, f in zip(truths, founds, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of label maps; packed ellipses without it")
    parser.add_argument("--peer-python", type=Path, help=f"a Python that has {PEER}; made with uv without it")
    parser.add_argument("--tiles", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)

    truths = (
        real_tiles(arguments.data, arguments.tiles)
        if arguments.data
        else [packed_ellipses(seed) for seed in range(arguments.tiles)]
    )
    tiles = [network_maps(labels, seed) for seed, labels in enumerate(truths)]
    # Ours go first and last, so that a machine growing slower or faster meanwhile shows.
    ways = {"histocyte": Hover(CLASSES), "histocyte, compat": Hover(CLASSES, compat=True)}
    results = {name: run_ours(way, tiles, arguments.repeats) for name, way in ways.items()}
    results[PEER] = run_peer(arguments.peer_python or peer_python(PEER, PEER_NEEDS), tiles, arguments.repeats)
    for name, way in ways.items():
        again = run_ours(way, tiles, arguments.repeats)
        results[name] = [(a[0], np.concatenate([a[1], b[1]])) for a, b in zip(results[name], again, strict=True)]

    peer_labels = [labels for labels, _ in results[PEER]]
    peer_ms = float(np.median(np.concatenate([ms for _, ms in results[PEER]])))
    rows = []
    for name, result in results.items():
        labels = [found for found, _ in result]
        median = float(np.median(np.concatenate([ms for _, ms in result])))
        rows.append(
            {
                "program": name,
                "ms_per_tile": round(median, 1),
                "times_faster": round(peer_ms / median, 1),
                "nuclei": int(sum(len(np.unique(found)) - 1 for found in labels)),
                "bpq_to_peer": round(mean_quality(peer_labels, labels), 4),
                "bpq_to_truth": round(mean_quality(truths, labels), 4),
            }
        )
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    true = sum(int(labels.max()) for labels in truths)
    print(f"{len(tiles)} tiles of {SIDE} x {SIDE} px with {true} nuclei; one thread, processor time, median of")
    print(f"{arguments.repeats} runs of the peer and {2 * arguments.repeats} of ours, before and after it")
    print(f"{'':20}{'ms/tile':>10}{'faster':>9}{'nuclei':>9}{'bPQ to peer':>13}{'bPQ to truth':>14}")
    for row in rows:
        print(
            f"{row['program']:20}{row['ms_per_tile']:>10}{row['times_faster']:>8}x{row['nuclei']:>9}"
            f"{row['bpq_to_peer']:>13.4f}{row['bpq_to_truth']:>14.4f}"
        )


if __name__ == "__main__":
    main()
