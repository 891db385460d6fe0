"""Import and one training epoch over many images: rate, and memory that does not grow with their number.

Claim: a set of any size is imported and learnt from in bounded memory. Of memory, what a process holds by itself
counts; images that are mapped from a file (which the system takes back when it needs room) stand beside it.

Images are painted and written as PanNuke's folds are (`images.npy`, `masks.npy`, `types.npy`, of integers in place of
64-bit numbers), imported by `histocyte data import pannuke` and learnt from by `histocyte train` with the smallest
recipe, one crop an image, each command in a process of its own. Rates are of processor time.
Run: python benchmarks/data_import.py [--images 1000 4000] [--crop-px 64]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from histocyte.core.taxonomies import CONSEP
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

SIDE_PX, BATCH, NUCLEI, PAINTED = 256, 16, 40, 24
ENTRY = "from histocyte.apps.cli.main import run; run()"


class Cost(NamedTuple):
    """What a command took: processor time, memory of its own at most, and of files at most."""

    seconds: float
    held_mb: float
    mapped_mb: float


def write_folds(folder: Path, images: int) -> None:
    """Three folds in PanNuke's layout; some painted scenes, shifted differently for every image."""
    scenes = [packed_ellipses((SIDE_PX, SIDE_PX), NUCLEI, seed=seed) for seed in range(PAINTED)]
    pictures = [paint_truth(scene, CONSEP) for scene in scenes]
    random = np.random.default_rng(0)
    for fold in (1, 2, 3):
        place = folder / f"Fold {fold}"
        place.mkdir(parents=True)
        count = images // 3 + (fold <= images % 3)
        shape = (count, SIDE_PX, SIDE_PX)
        pixels = np.lib.format.open_memmap(place / "images.npy", "w+", np.uint8, (*shape, 3))
        masks = np.lib.format.open_memmap(place / "masks.npy", "w+", np.uint16, (*shape, 6))
        for number in range(count):
            which, shift = random.integers(PAINTED), tuple(random.integers(SIDE_PX, size=2))
            noise = random.integers(-8, 9, (SIDE_PX, SIDE_PX, 3))
            picture = np.roll(pictures[which], shift, (0, 1)) + noise
            labels = np.roll(scenes[which].instances, shift, (0, 1))
            pixels[number] = np.clip(picture, 0, 255)
            for code in range(5):
                masks[number, ..., code] = np.where(labels % 5 == code, labels, 0)
        np.save(place / "types.npy", np.array(["Breast", "Colon"] * count)[:count])
        del pixels, masks


def measured(*arguments: str) -> Cost:
    """A command in a process of its own, looked at five times a second."""
    began, held, mapped = _children_seconds(), 0, 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-c", ENTRY, *arguments]
        with subprocess.Popen(command, stdout=said, stderr=said, env=environment) as process:
            while process.poll() is None:
                own, file = _memory_kb(process.pid)
                held, mapped = max(held, own), max(mapped, file)
                time.sleep(0.2)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(arguments)} failed: {said.read()[-2000:]}")
    return Cost(_children_seconds() - began, held / 1024, mapped / 1024)


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _memory_kb(process: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return found.get("RssAnon", 0), found.get("RssFile", 0) + found.get("RssShmem", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--crop-px", type=int, default=64)
    arguments = parser.parse_args()
    print(f"{'images':>8} {'':8} {'CPU, s':>8} {'images/s':>9} {'held, MB':>9} {'mapped, MB':>11} {'on disk, MB':>12}")
    for images in arguments.images:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_folds(folder / "in", images)
            imported = measured("data", "import", "pannuke", str(folder / "in"), "-o", str(folder / "set"))
            size = sum(path.stat().st_size for path in (folder / "set").iterdir()) / 1e6
            there = json.loads((folder / "set" / "dataset.json").read_text())["images"]
            assert there == images, there
            steps = max(1, images // BATCH)
            learnt = measured(
                *("train", str(folder / "set"), "-o", str(folder / "run"), "--recipe", "hover_small"),
                *("--steps", str(steps), "--validate-every", str(steps), "--batch", str(BATCH), "--device", "cpu"),
                *("--crop-px", str(arguments.crop_px), "--threads", "1", "--validation", "0.02"),
            )
        for what, cost in (("import", imported), ("epoch", learnt)):
            print(
                f"{images:8,} {what:8} {cost.seconds:8.0f} {images / cost.seconds:9.1f} {cost.held_mb:9.0f} "
                f"{cost.mapped_mb:11.0f} {size:12.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
