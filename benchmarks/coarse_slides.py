"""Cells on slides scanned at 20×: the default model on enlarged pixels against the model made for 0.5 µm/px.

    python benchmarks/coarse_slides.py ../shared/data

DATA holds consep/, monuseg/, tnbc/ and cpm15/. Of the first three the images held out of both models' training are made
half as large, as a scanner at 20× would see them; of cpm15 those scanned at 0.5 µm/px are taken as they are. Both
models are scored against the same labels, bPQ with 95 % bootstrap intervals over patients or slides, and timed on the
same pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from histocyte.core.instances import relabel_sequential
from histocyte.datasets.folder import load_folders
from histocyte.datasets.sample import Sample
from histocyte.evaluation.protocol import evaluate
from histocyte.inference.load import load
from histocyte.pipeline import instances_on

MODELS = ("hover-unet-consep", "hover-unet-consep-20x")
MPP = 0.5


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    models = [load(name, runtime="openvino", workers=1) for name in MODELS]
    held_out = [model.spec.history.held_out for model in models]
    folders = [arguments.data / name for name in ("consep", "monuseg", "tnbc", "cpm15")]
    samples = []
    for sample in load_folders(folders, taxonomy=models[0].taxonomy):
        if sample.source == "cpm15":
            samples += [sample] if np.isclose(sample.mpp, MPP) else []
        elif all(sample.name in held[sample.source] for held in held_out):
            samples.append(half_as_large(sample))
    mm2 = sum(s.instances.size * s.mpp**2 for s in samples) / 1e6
    sources = sorted({s.source for s in samples})
    print(f"| model | {' | '.join(sources)} | mm² a minute, one core |\n|---|{'---|' * (len(sources) + 1)}")
    for model in models:
        found, seconds = {}, 0.0
        for index, sample in enumerate(samples):
            began = time.process_time()
            found[index] = instances_on(sample.image, model, mpp=sample.mpp)
            seconds += time.process_time() - began
        scores = scored(samples, list(found.values()), model.taxonomy.names)
        print(f"| `{model.spec.name}` | {' | '.join(scores[s] for s in sources)} | {60 * mm2 / seconds:.1f} |")


def half_as_large(sample: Sample) -> Sample:
    """The image as it would be at half the resolution, with its labels."""
    height, width = sample.instances.shape
    size = width // 2, height // 2
    labels, kept = relabel_sequential(
        np.asarray(cv2.resize(sample.instances, size, interpolation=cv2.INTER_NEAREST_EXACT), np.int32)
    )
    return replace(
        sample,
        image=cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA),
        instances=labels,
        types=None if sample.types is None else sample.types[kept],
        mpp=2 * sample.mpp,
    )


def scored(samples: Sequence[Sample], found: Sequence[object], names: Sequence[str]) -> dict[str, str]:
    """The bPQ of each data set with its interval and number of images."""
    predictions = iter(found)
    report = evaluate(lambda image, mpp: next(predictions), samples, names)  # type: ignore[arg-type,return-value]
    rows = {}
    for source, of in report.sources.items():
        bpq = of.scores["bpq"]
        rows[source] = f"{bpq.value:.3f} ({bpq.low:.3f}–{bpq.high:.3f}), n = {of.n_images}"
    return rows


if __name__ == "__main__":
    main()
