"""How much a training step gains from a frozen encoder's features being on disk.

Claim: from the cache a step costs the decoder alone. The physical limit is measured in the same run: steps with the
same batch over and over, without any encoder or augmentation. CPU seconds of the whole process, so that other work on
the machine does not count.

Run: python benchmarks/feature_cache.py FOLDER_OF_LABELLED_IMAGES [--recipe frozen_encoder] [--encoder NAME]
     [--encoder-weights FILE] [--decoder fcn] [--images 16]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from histocyte.datasets.folder import load_folder
from histocyte.runs.train.defaults import crop_sampler, first_spec, start
from histocyte.training.crops import Batch, BatchSource
from histocyte.training.feature_cache import FeatureCache
from histocyte.training.fit import TrainingOptions, fit


class Same:
    """One batch for every step."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        return (self.batch for _ in range(start, stop))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", default="frozen_encoder")
    parser.add_argument("--encoder", default="vit_tiny_patch16_224")
    parser.add_argument("--encoder-weights", help="random where not given: the time is the same")
    parser.add_argument("--decoder", help="with its default options, in place of the recipe's")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crops", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    spec = first_spec(given.recipe, given.encoder)
    if given.decoder is not None:
        spec = spec.with_changes(decoder={"name": given.decoder}, heads={"name": "pointwise"})
    samples = load_folder(given.folder)[: given.images]
    live = crop_sampler(spec, samples, seed=0)

    def seconds_per_step(source: BatchSource, cached_crops: int) -> float:
        model = start(spec, given.encoder_weights, seed=0)
        options = TrainingOptions(
            steps=given.steps + 1, batch=given.batch, adapt="frozen", cached_crops=cached_crops, checkpoint_every=10**9
        )
        ticks: list[float] = []
        with tempfile.TemporaryDirectory() as run:
            fit(model, spec, source, Path(run), options, progress=lambda *_: ticks.append(time.process_time()))
        return (ticks[-1] - ticks[0]) / given.steps

    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), start(spec, given.encoder_weights, seed=0), spec, live)
        began = time.process_time()
        cached = cache.fill(given.crops)
        filling = (time.process_time() - began) / (cache.shards(given.crops) * cache.shard)
        rows = [
            ("encoder in every step", seconds_per_step(live, 0)),
            ("from the cache", seconds_per_step(cached, given.crops)),
            ("limit: one batch again and again", seconds_per_step(Same(cached.batch(0, given.batch)), given.crops)),
        ]
        made = f"{cache.crop_bytes / 1e6:.2f} MB and {filling:.3f} CPU s once for each crop"
        print(f"{given.encoder}, {spec.decoder.name}: {made}")
    for name, seconds in rows:
        print(f"{name:36} {seconds:8.2f} CPU s a step of {given.batch}   {rows[0][1] / seconds:5.2f} ×")


if __name__ == "__main__":
    main()
