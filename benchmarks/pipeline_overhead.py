"""How much of a slide's wall time is not the network.

Claim: reading, decoding, outlines, settling and writing are hidden behind the network, wall ÷ pure forward ≤ 1.15.

The physical limit is measured in the same run: the same tiles of the same slide, already in memory, through the same
runtime with the same number of threads and nothing else. Run: python benchmarks/pipeline_overhead.py SLIDE [--mpp 0.25]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from histocyte.inference.load import Model, load
from histocyte.inference.plan import Plan
from histocyte.inference.predict import predict_field
from histocyte.results import Options, segment_to_folder
from histocyte.slides.open import open_slide
from histocyte.slides.tissue import find_tissue


def forward_seconds(slide: Path, mpp: float | None, model: Model) -> float:
    """Wall seconds of the network alone, on all blocks that the pipeline would predict."""
    with open_slide(slide, mpp=mpp) as reader:
        plan = Plan.of(reader, model, find_tissue(reader).region)
        fields = [(block.field, reader.read(block.field, mpp=model.spec.mpp)) for block in plan.blocks()]

    def forward(item) -> None:  # type: ignore[no-untyped-def]
        field, image = item
        predict_field(
            image,
            model.runtime,
            channels=model.channels,
            tile_px=plan.layout.tile_px,
            margin_px=plan.layout.margin_px,
            wanted=plan.wanted_on(field),
        )

    with ThreadPoolExecutor(model.runtime.parallel) as pool:
        began = time.perf_counter()
        list(pool.map(forward, fields))
        return time.perf_counter() - began


def pipeline_seconds(slide: Path, mpp: float | None, model: Model) -> float:
    """Wall seconds of the whole job, results on disk."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        segment_to_folder(slide, out, model, Options(mpp=mpp))
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpp", type=float)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    model = load(workers=arguments.workers)
    pipeline_seconds(arguments.slide, arguments.mpp, model)  # compiled kernels, file cache
    pairs = []
    for _ in range(arguments.runs):
        network = forward_seconds(arguments.slide, arguments.mpp, model)
        whole = pipeline_seconds(arguments.slide, arguments.mpp, model)
        pairs.append((network, whole))
    print(f"{arguments.slide.name}, {model.runtime.name} on {model.runtime.device}, {model.runtime.parallel} workers")
    print(f"{'network alone, s':>18} {'whole job, s':>14} {'ratio':>7}")
    for network, whole in pairs:
        print(f"{network:18.2f} {whole:14.2f} {whole / network:7.2f}")
    print(f"median ratio {statistics.median(w / n for n, w in pairs):.3f} (target ≤ 1.15)")


if __name__ == "__main__":
    main()
