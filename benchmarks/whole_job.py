"""What a whole job costs beside its network, and what one small field costs beside the libraries it cannot do without.

    python benchmarks/whole_job.py SLIDE [--mpp 0.5] [--precisions f32 bf16] [--runs 3]

Claims: wall and processor time of `histocyte segment` are at most 1.10 times those of its network; one field of 1000²
px is done within 2.5 s of processor time, network included.

Every job is a new process with one worker, results on disk; rounds go through all of them in turn, so that whatever
else the machine does meets all alike, and the least of the rounds counts. Beside a job stands its limit: the same tiles
of the same slide, already in memory, through the same network and nothing else. Beside the field stand the imports of
the libraries that any job needs. Bytecode and compiled kernels are kept in folders of the benchmark's own; "nothing
kept" is the field where bytecode may not be written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from histocyte.core.geometry import Box
from histocyte.inference.load import load
from histocyte.inference.plan import Plan
from histocyte.inference.predict import predict_field
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import working_size
from histocyte.slides.tissue import find_tissue

LIBRARIES = "numpy, cv2, scipy.ndimage, numba, shapely, pyarrow.parquet, openvino, typer, rich.console"
FIELD_PX = 1000


@dataclass(frozen=True)
class Cost:
    """Seconds."""

    cpu: float
    wall: float

    def least(self, other: Cost | None) -> Cost:
        """The lesser of each."""
        return self if other is None else Cost(min(self.cpu, other.cpu), min(self.wall, other.wall))


def network(slide: Path, mpp: float | None, precision: str | None) -> dict[str, float]:
    """Seconds of the network alone on all that the pipeline would show it, and that as a share of the tissue."""
    model, seen = load(workers=1, precision=precision), 0  # type: ignore[arg-type]

    class Counting(type(model.runtime)):  # type: ignore[misc]
        """Counts the pixels that the network is shown."""

        def predict(self, images):  # type: ignore[no-untyped-def]
            nonlocal seen
            seen += images.shape[0] * images.shape[1] * images.shape[2]
            return super().predict(images)

    model.runtime.__class__ = Counting
    with open_slide(slide, mpp=mpp) as reader:
        tissue = find_tissue(reader)
        plan = Plan.of(reader, model, tissue.searched)
        fields = [(block.field, reader.read(block.field, mpp=model.spec.mpp)) for block in plan.blocks()]
        wanted = tissue.region.area_mm2(reader.mpp) * 1e6 / model.spec.mpp**2

    def forward(item: tuple[Box, Any]) -> None:
        field, image = item
        predict_field(
            image,
            model.runtime,
            channels=model.channels,
            tile_px=plan.layout.tile_px,
            margin_px=plan.layout.margin_px,
            wanted=plan.wanted_on(field),
        )

    cpu, wall = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(forward, fields))
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "share": seen / wanted}


def ran(command: Sequence[str], environment: Mapping[str, str]) -> tuple[Cost, str]:
    """What a process takes from its start to its end, and what it prints."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    told = process.stdout.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}.")
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - began), told


def job(slide: Path, mpp: float | None, precision: str, environment: Mapping[str, str]) -> Cost:
    """`histocyte segment` of a slide."""
    with tempfile.TemporaryDirectory() as out:
        extra = [] if mpp is None else ["--mpp", str(mpp)]
        chosen = ["--precision", precision] if precision != "default" else []
        command = ["-m", "histocyte", "segment", str(slide), "-o", out, "--workers", "1", "--json", *extra, *chosen]
        return ran(command, environment)[0]


def limit(slide: Path, mpp: float | None, precision: str, environment: Mapping[str, str]) -> tuple[Cost, float]:
    """`network`, in a process of its own."""
    told = ran(
        [__file__, str(slide), "--network", precision, *([] if mpp is None else ["--mpp", str(mpp)])], environment
    )[1]
    found = json.loads(told)
    return Cost(found["cpu"], found["wall"]), found["share"]


def cut_field(slide: Path, mpp: float | None, folder: Path) -> tuple[Path, float]:
    """A PNG of the middle of a slide at the model's resolution, and that resolution."""
    to_mpp = load(workers=1).spec.mpp
    with open_slide(slide, mpp=mpp) as reader:
        middle = [max(0, (side - FIELD_PX) // 2) for side in working_size(reader, to_mpp)]
        pixels = reader.read(Box(*middle, FIELD_PX, FIELD_PX), mpp=to_mpp)
    cv2.imwrite(str(folder / "field.png"), np.ascontiguousarray(pixels[..., ::-1]))
    return folder / "field.png", to_mpp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpp", type=float)
    parser.add_argument("--precisions", nargs="+", default=["f32", "bf16"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.network:
        chosen = None if arguments.network == "default" else arguments.network
        print(json.dumps(network(arguments.slide, arguments.mpp, chosen)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        kept = {
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
            "NUMBA_CACHE_DIR": str(folder / "kernels"),
            "OMP_NUM_THREADS": "1",
        }
        nothing = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(folder / "none")}
        field, field_mpp = cut_field(arguments.slide, arguments.mpp, folder)
        slides = [(arguments.slide.name, arguments.slide, arguments.mpp), ("one field, 1000²", field, field_mpp)]
        last, costs = arguments.precisions[-1], {}  # type: str, dict[tuple[str, str, str], Cost]
        shares: dict[str, float] = {}

        def measured(key: tuple[str, str, str], cost: Cost) -> None:
            costs[key] = cost.least(costs.get(key))

        job(field, field_mpp, last, kept)  # compiles kernels and bytecode
        for _ in range(arguments.runs):
            for name, path, mpp in slides:
                for precision in arguments.precisions:
                    measured((name, precision, "job"), job(path, mpp, precision, kept))
                    alone, shares[name] = limit(path, mpp, precision, kept)
                    measured((name, precision, "network"), alone)
            measured((slides[1][0] + ", nothing kept", last, "job"), job(field, field_mpp, last, nothing))
            measured(("its libraries' imports", "", "job"), ran(["-c", f"import {LIBRARIES}"], kept)[0])
            measured(
                ("its libraries' imports, nothing kept", "", "job"), ran(["-c", f"import {LIBRARIES}"], nothing)[0]
            )
    rows = [
        ("", "", "whole job", "", "network alone", "", "ratio", "", "rest", "pixels seen"),
        ("", "", "cpu s", "wall s", "cpu s", "wall s", "cpu", "wall", "cpu s", "/ tissue"),
    ]
    for (name, precision, what), whole in costs.items():
        if what != "job":
            continue
        row = [name, precision, f"{whole.cpu:.2f}", f"{whole.wall:.2f}", *[""] * 6]
        net = costs.get((name, precision, "network"))
        if net is not None:
            row[4:] = [
                f"{net.cpu:.2f}",
                f"{net.wall:.2f}",
                f"{whole.cpu / net.cpu:.2f}",
                f"{whole.wall / net.wall:.2f}",
            ]
            row += [f"{whole.cpu - net.cpu:.2f}", f"{shares[name]:.2f}"]
        rows.append(tuple(row))
    for first, *others in rows:
        print(f"{first:38}" + "".join(f"{each:>14}" for each in others))
    print("Aims: ratio ≤ 1.10 on a slide; a field ≤ 2.5 s.")


if __name__ == "__main__":
    main()
