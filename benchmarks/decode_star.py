"""Star maps to nuclei: histocyte against the PyPI package `stardist`, on the same maps.

    python benchmarks/decode_star.py [--data FOLDER] [--peer-python PATH] [--nuclei 500 2500] [--tiles 2] [--repeats 5]

Tiles are 1024² px of packed ellipses, about as many as asked, or with --data real label maps, NAME.npz with `inst`
(H, W). Maps are written from the labels and spoilt as a network's are: blurred, with smooth and rough noise. Both sides
get the same arrays and one thread, and give a label map; ours is solid and in one piece besides, with scores. The peer
runs in a Python of its own: the one given, or one made with `uv` in the user's cache folder. Processor time, so that
other programs on the machine count for little; medians over all tiles and repeats, first run left out. Beside the
decode, the time to write the rays as targets.
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
from decode_flow import SIDE, packed_ellipses, real_tiles

from histocyte.core.instances import Labels
from histocyte.metrics.panoptic import panoptic_counts
from histocyte.representations.star.scheme import Star
from histocyte.representations.star.targets import ray_distances

PEER = "stardist 0.9.2"

# Runs in the peer's Python. Thresholds and border as CellViT passes them.
PEER_PROGRAM = r"""
import sys, time
import numpy as np
from stardist.geometry import polygons_to_label, star_dist
from stardist.nms import non_maximum_suppression

with np.load(sys.argv[1]) as stored:
    given = {name: stored[name] for name in stored.files}
repeats, result = int(sys.argv[3]), {}
for i in range(len(given) // 3):
    nucleus, rays, truth = (given[f"{i}/{name}"] for name in ("nucleus", "rays", "truth"))
    nucleus, rays = nucleus[0], np.ascontiguousarray(rays.transpose(1, 2, 0))
    decoding, encoding = [], []
    for _ in range(repeats + 1):
        start = time.process_time()
        points, scores, lengths = non_maximum_suppression(
            rays, nucleus, grid=(1, 1), b=2, nms_thresh=0.5, prob_thresh=0.5
        )
        labels = polygons_to_label(lengths, points, prob=scores, shape=nucleus.shape)
        decoding.append(1e3 * (time.process_time() - start))
        start = time.process_time()
        star_dist(truth, 32, mode="cpp")
        encoding.append(1e3 * (time.process_time() - start))
    result[f"{i}/labels"] = np.asarray(labels, np.int32)
    result[f"{i}/ms"], result[f"{i}/encoding"] = np.array(decoding[1:]), np.array(encoding[1:])
np.savez(sys.argv[2], **result)
"""


def network_maps(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Target maps blurred and with noise, as float32; a network's probabilities stay below 1, so that few are equal."""
    rng = np.random.default_rng(seed)
    target = Star(compat=True).encode(Labels(labels))

    def cloud(sigma: float) -> np.ndarray:
        field = cv2.GaussianBlur(rng.standard_normal(labels.shape).astype(np.float32), (0, 0), sigma)
        return field / field.std()

    rays = [cv2.GaussianBlur(r, (0, 0), 1.0) * (1 + 0.08 * cloud(2.5)) + 0.2 * cloud(0.5) for r in target["rays"]]
    nucleus = cv2.GaussianBlur(target["nucleus"][0], (0, 0), 1.0) + 0.05 * cloud(2.0) + 0.01 * cloud(0.5)
    return {
        "nucleus": np.clip(0.9 * nucleus, 0, 1)[None].astype(np.float32),
        "rays": np.maximum(np.stack(rays), 0).astype(np.float32),
    }


def run_peer(
    python: Path, truths: Sequence[np.ndarray], tiles: Sequence[Mapping[str, np.ndarray]], repeats: int
) -> list[dict[str, np.ndarray]]:
    """Of each tile: labels, ms of each decode, ms of each encoding of the truth."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder) / "maps.npz", Path(folder) / "labels.npz"
        arrays = {f"{i}/{name}": values for i, maps in enumerate(tiles) for name, values in maps.items()}
        np.savez(given, **arrays, **{f"{i}/truth": labels for i, labels in enumerate(truths)})
        command = [str(python), "-W", "ignore", "-c", PEER_PROGRAM, str(given), str(got), str(repeats)]
        subprocess.run(command, check=True, env={**os.environ, **SINGLE_THREAD})
        with np.load(got) as stored:
            return [{name: stored[f"{i}/{name}"] for name in ("labels", "ms", "encoding")} for i in range(len(tiles))]


def run_ours(
    representation: Star, truths: Sequence[np.ndarray], tiles: Sequence[Mapping[str, np.ndarray]], repeats: int
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
            ray_distances(truth, published=representation.compat)
            encoding.append(1e3 * (time.process_time() - start))
        results.append({"labels": found.labels, "ms": np.array(decoding[1:]), "encoding": np.array(encoding[1:])})
    return results


def _quality(truths: Sequence[np.ndarray], founds: Sequence[np.ndarray]) -> float:
    """Binary panoptic quality, mean over tiles."""
    return float(np.mean([panoptic_counts(t, f).quality().pq for t, f in zip(truths, founds, strict=True)]))


def compare(truths: Sequence[np.ndarray], python: Path, repeats: int) -> list[dict[str, object]]:
    """A row for each program, all measured on the same maps in the same run, ours before and after the peer.

    Args:
        truths: Label maps.
        python: A Python that has the peer.
        repeats: Runs of each that count; ours has twice as many.
    """
    tiles = [network_maps(labels, seed) for seed, labels in enumerate(truths)]
    ways = {"histocyte": Star(), "histocyte, compat": Star(compat=True)}
    before = {name: run_ours(way, truths, tiles, repeats) for name, way in ways.items()}
    peer = run_peer(python, truths, tiles, repeats)
    after = {name: run_ours(way, truths, tiles, repeats) for name, way in ways.items()}
    results = {name: [*before[name], *after[name]] for name in ways} | {PEER: peer}
    peer_labels = [tile["labels"] for tile in peer]
    peer_ms = float(np.median(np.concatenate([tile["ms"] for tile in peer])))
    rows: list[dict[str, object]] = []
    for name, runs in results.items():
        labels = [tile["labels"] for tile in runs[: len(truths)]]
        median = float(np.median(np.concatenate([tile["ms"] for tile in runs])))
        rows.append(
            {
                "program": name,
                "ms_per_tile": round(median, 1),
                "times_faster": round(peer_ms / median, 1),
                "encoding_ms": round(float(np.median(np.concatenate([tile["encoding"] for tile in runs]))), 1),
                "nuclei": int(sum(len(np.unique(found)) - 1 for found in labels)),
                "bpq_to_peer": round(_quality(peer_labels, labels), 4),
                "bpq_to_truth": round(_quality(truths, labels), 4),
            }
        )
    return rows


def show(truths: Sequence[np.ndarray], rows: Sequence[Mapping[str, object]]) -> None:
    """Print `compare`'s rows."""
    true = sum(len(np.unique(labels)) - 1 for labels in truths)
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
    python = arguments.peer_python or peer_python(PEER)
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
