"""Flow maps to nuclei: histocyte against the PyPI package `cellpose`, on the same maps.

    python benchmarks/decode_flow.py [--data FOLDER] [--peer-python PATH] [--nuclei 500 2500] [--tiles 2] [--repeats 5]

Tiles are 1024² px of packed ellipses, about as many as asked, or with --data real label maps, NAME.npz with `inst`
(H, W). Maps are written from the labels and spoilt as a network's are: blurred, with smooth and rough noise. Both sides
get the same arrays and one thread, and give a label map without holes and debris, with Cellpose's check of the flows.
The peer runs in a Python of its own: the one given, or one made with `uv` in the user's cache folder. Processor time,
so that other programs on the machine count for little; medians over all tiles and repeats, first run left out. Beside
the decode, the time to write the flows as targets, which the peer's check of the flows takes too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from _peer import SINGLE_THREAD, peer_python

from histocyte.core.instances import Labels
from histocyte.core.labels import clean_instances
from histocyte.metrics.panoptic import panoptic_counts
from histocyte.representations.flow.scheme import Flow

SIDE = 1024
PEER = "cellpose 4.2.1.1"
PEER_NEEDS = ["torch", "numpy", "scipy", "opencv-python-headless", "fastremap", "fill-voids", "tifffile", "tqdm"]

# Runs in the peer's Python. torchvision, which its resizing of images takes, is stood in for by an empty module.
PEER_PROGRAM = r"""
import sys, time, types
import numpy as np

class Absent(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})

root = "torchvision"
for name in (root, root + ".transforms", root + ".transforms.functional", root + ".transforms._functional_tensor"):
    sys.modules[name] = Absent(name)
import cv2, torch
cv2.setNumThreads(1)
torch.set_num_threads(1)
from cellpose import dynamics

with np.load(sys.argv[1]) as stored:
    given = {name: stored[name] for name in stored.files}
repeats, result = int(sys.argv[3]), {}
for i in range(len(given) // 3):
    nucleus, flow, truth = (given[f"{i}/{name}"] for name in ("nucleus", "flow", "truth"))
    milliseconds, encoding = [], []
    for _ in range(repeats + 1):
        start = time.process_time()
        labels = dynamics.compute_masks(flow, nucleus[0] - 0.5, niter=200, min_size=15, device=torch.device("cpu"))
        milliseconds.append(1e3 * (time.process_time() - start))
    start = time.process_time()
    target, _ = dynamics.masks_to_flows_gpu(truth, device=torch.device("cpu"))
    result[f"{i}/encoding"] = np.array(1e3 * (time.process_time() - start))
    result[f"{i}/labels"] = np.asarray(labels, np.int32)
    result[f"{i}/ms"] = np.array(milliseconds[1:])
    result[f"{i}/target"] = np.asarray(target, np.float32)
np.savez(sys.argv[2], **result)
"""


def packed_ellipses(nuclei: int, seed: int) -> np.ndarray:
    """About so many nuclei, many touching; the more there are, the smaller."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((SIDE, SIDE), np.int32)
    mean = min(13.0, 0.5 * SIDE / np.sqrt(nuclei) / 1.3)
    found = 0
    for _ in range(20 * nuclei):
        x, y, a, b, angle = *rng.uniform(0, SIDE, 2), *rng.uniform(0.7 * mean, 1.3 * mean, 2), rng.uniform(0, 180)
        near = np.s_[max(0, int(y) - 20) : int(y) + 21, max(0, int(x) - 20) : int(x) + 21]
        mask = np.zeros((SIDE, SIDE), np.uint8)[near].copy()
        centre = (float(x) - near[1].start, float(y) - near[0].start)
        cv2.ellipse(mask, (centre, (2 * float(a), 2 * float(b)), float(angle)), 1, -1)
        free = (mask > 0) & (labels[near] == 0)
        if free.sum() > 0.8 * np.pi * a * b:
            found += 1
            labels[near][free] = found
        if found == nuclei:
            break
    return clean_instances(labels)


def real_tiles(folder: Path, count: int) -> list[np.ndarray]:
    """Label maps of the folder at even distances, mirrored at their edges to the tile's size."""
    paths = sorted(folder.glob("*.npz"))
    tiles = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        with np.load(path) as stored:
            labels = stored["inst"].astype(np.int32)[:SIDE, :SIDE]
        tiles.append(clean_instances(np.pad(labels, [(0, SIDE - n) for n in labels.shape], mode="symmetric")))
    return tiles


def network_maps(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Target maps blurred and with noise, as float32; full flows are 5 long, as Cellpose learns them."""
    rng = np.random.default_rng(seed)
    target = Flow().encode(Labels(labels))

    def cloud(sigma: float) -> np.ndarray:
        field = cv2.GaussianBlur(rng.standard_normal(labels.shape).astype(np.float32), (0, 0), sigma)
        return field / field.std()

    flow = [cv2.GaussianBlur(plane, (0, 0), 1.2) + 0.3 * cloud(2.5) + 0.15 * cloud(0.5) for plane in target["flow"]]
    nucleus = np.clip(cv2.GaussianBlur(target["nucleus"][0], (0, 0), 1.0) + 0.1 * cloud(2.0), 0, 1)
    return {"nucleus": nucleus[None].astype(np.float32), "flow": np.stack(flow).astype(np.float32)}


def run_peer(
    python: Path, truths: Sequence[np.ndarray], tiles: Sequence[Mapping[str, np.ndarray]], repeats: int
) -> list[dict[str, np.ndarray]]:
    """Of each tile: labels, ms of each decode, ms of encoding the truth, and the flows this gives."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder) / "maps.npz", Path(folder) / "labels.npz"
        arrays = {f"{i}/{name}": values for i, maps in enumerate(tiles) for name, values in maps.items()}
        np.savez(given, **arrays, **{f"{i}/truth": labels for i, labels in enumerate(truths)})
        command = [str(python), "-W", "ignore", "-c", PEER_PROGRAM, str(given), str(got), str(repeats)]
        subprocess.run(command, check=True, env={**os.environ, **SINGLE_THREAD})
        with np.load(got) as stored:
            names = ("labels", "ms", "encoding", "target")
            return [{name: stored[f"{i}/{name}"] for name in names} for i in range(len(tiles))]


def run_ours(
    representation: Flow, truths: Sequence[np.ndarray], tiles: Sequence[Mapping[str, np.ndarray]], repeats: int
) -> list[dict[str, np.ndarray]]:
    """The same of ours."""
    results = []
    for truth, maps in zip(truths, tiles, strict=True):
        decoding, encoding = [], []
        for _ in range(repeats + 1):
            start = time.process_time()
            found = representation.decode(maps)
            decoding.append(1e3 * (time.process_time() - start))
            start = time.process_time()
            target = representation.encode(Labels(truth))["flow"] / representation.flow_scale
            encoding.append(1e3 * (time.process_time() - start))
        ms, median = np.array(decoding[1:]), np.median(encoding[1:])
        results.append({"labels": found.labels, "ms": ms, "encoding": median, "target": target})
    return results


def _quality(truths: Sequence[np.ndarray], founds: Sequence[np.ndarray]) -> float:
    """Binary panoptic quality, mean over tiles."""
    return float(np.mean([panoptic_counts(t, f).quality().pq for t, f in zip(truths, founds, strict=True)]))


def compare(truths: Sequence[np.ndarray], python: Path, repeats: int) -> list[dict[str, object]]:
    """A row for each program, all measured on the same maps in the same run, ours before and after the peer.

    Args:
        truths: Label maps.
        python: A Python that has the peer.
        repeats: Runs of each, the first left out not counted; ours has twice as many.
    """
    tiles = [network_maps(labels, seed) for seed, labels in enumerate(truths)]
    ways = {"histocyte": Flow(), "histocyte, compat": Flow(compat=True)}
    before = {name: run_ours(way, truths, tiles, repeats) for name, way in ways.items()}
    peer = run_peer(python, truths, tiles, repeats)
    after = {name: run_ours(way, truths, tiles, repeats) for name, way in ways.items()}
    results = {name: [before[name], after[name]] for name in ways} | {PEER: [peer]}
    peer_labels = [tile["labels"] for tile in peer]
    peer_ms = float(np.median(np.concatenate([tile["ms"] for tile in peer])))
    rows: list[dict[str, object]] = []
    for name, runs in results.items():
        labels = [tile["labels"] for tile in runs[0]]
        median = float(np.median(np.concatenate([tile["ms"] for run in runs for tile in run])))
        off = max(float(np.abs(a["target"] - b["target"]).max()) for a, b in zip(runs[0], peer, strict=True))
        rows.append(
            {
                "program": name,
                "ms_per_tile": round(median, 1),
                "times_faster": round(peer_ms / median, 1),
                "encoding_ms": round(float(np.median([tile["encoding"] for run in runs for tile in run])), 1),
                "nuclei": int(sum(len(np.unique(found)) - 1 for found in labels)),
                "bpq_to_peer": round(_quality(peer_labels, labels), 4),
                "bpq_to_truth": round(_quality(truths, labels), 4),
                "target_differs_by": off,
            }
        )
    return rows


def show(truths: Sequence[np.ndarray], rows: Sequence[Mapping[str, object]]) -> None:
    """Print `compare`'s rows."""
    true = sum(int(labels.max()) for labels in truths)
    print(f"{len(truths)} tiles of {SIDE} x {SIDE} px with {true} nuclei; one thread, processor time")
    print(f"{'':20}{'ms/tile':>9}{'faster':>9}{'encode ms':>11}{'nuclei':>8}{'bPQ to peer':>13}{'bPQ to truth':>14}")
    for row in rows:
        print(
            f"{row['program']:20}{row['ms_per_tile']:>9}{row['times_faster']:>8}x{row['encoding_ms']:>11}"
            f"{row['nuclei']:>8}{row['bpq_to_peer']:>13.4f}{row['bpq_to_truth']:>14.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of label maps, instead of packed ellipses")
    parser.add_argument("--peer-python", type=Path, help=f"a Python that has {PEER}; made with uv without it")
    parser.add_argument("--nuclei", type=int, nargs="+", default=[500, 2500], help="about so many on a tile")
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    python = arguments.peer_python or peer_python(PEER, PEER_NEEDS)
    if arguments.data:
        fields = [real_tiles(arguments.data, arguments.tiles)]
    else:
        fields = [[packed_ellipses(n, seed) for seed in range(arguments.tiles)] for n in arguments.nuclei]
    results = [compare(truths, python, arguments.repeats) for truths in fields]
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for truths, rows in zip(fields, results, strict=True):
        show(truths, rows)


if __name__ == "__main__":
    main()
