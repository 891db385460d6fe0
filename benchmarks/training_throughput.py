"""How fast training is, and how much of its time the network waits for crops.

Claim: the network waits less than a tenth of the time. The limit is measured in the same run: steps with one batch over
and over. Beside it stands what preparing crops alone would give: drawn, augmented, and their labels written as maps.

Run: python benchmarks/training_throughput.py FOLDER_OF_LABELLED_IMAGES [--recipe hover_unet] [--encoder NAME]
     [--batch 16] [--steps 20] [--device cpu] [--threads N] [--crop-threads 1] [--plan ours]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from histocyte.datasets.folder import load_folder
from histocyte.inference.cpus import available_cpus
from histocyte.recipes.plans import find_plan
from histocyte.runs.train.defaults import OUR_CROPS, crop_sampler, first_spec, options_of, start
from histocyte.training.crops import Batch, BatchSource
from histocyte.training.environment import environment
from histocyte.training.fit import TrainingOptions, fit

WARM_UP = 3
"""Steps that do not count: compiling, and memory taken for the first time."""


class Same:
    """One batch for every step."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        return (self.batch for _ in range(start, stop))


class Timed:
    """A source of batches, and when each was asked for and there."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source
        self.asked: list[float] = []
        self.given: list[float] = []

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        batches = self.source.batches(start, stop, size)
        for _ in range(start, stop):
            self.asked.append(time.perf_counter())
            batch = next(batches)
            self.given.append(time.perf_counter())
            yield batch

    def result(self, size: int) -> tuple[float, float]:
        """Crops per second and share of the time that was waited, after the warm-up."""
        seconds = self.asked[-1] - self.asked[WARM_UP]
        waited = sum(g - a for a, g in zip(self.asked[WARM_UP:-1], self.given[WARM_UP:-1], strict=True))
        return size * (len(self.asked) - 1 - WARM_UP) / seconds, waited / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", default="hover_unet")
    parser.add_argument("--encoder")
    parser.add_argument("--plan", default="ours")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=available_cpus(), help="threads of the network on a CPU")
    parser.add_argument("--crop-threads", type=int, default=1, help="that prepare batches ahead")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    spec, plan = first_spec(given.recipe, given.encoder), find_plan(given.recipe, given.plan)
    samples = load_folder(given.folder)
    crops = OUR_CROPS if plan is None else plan.crops
    sampler = crop_sampler(spec, samples, seed=0, crops=crops, threads=given.crop_threads)
    planned = {} if plan is None else options_of(plan, sampler)
    planned = {k: v for k, v in planned.items() if k not in ("steps", "batch", "validate_every", "frozen_steps")}
    weights = {k: v for k, v in planned.pop("loss_weights", {}).items() if k != "tissue_ce"}
    steps = WARM_UP + given.steps + 1
    options = TrainingOptions(
        steps=steps,
        batch=given.batch,
        device=given.device,
        checkpoint_every=10 * steps,
        loss_weights=weights,
        **planned,
    )

    def measure(source: BatchSource) -> tuple[float, float]:
        timed = Timed(source)
        with tempfile.TemporaryDirectory() as run:
            fit(start(spec, None, seed=0), spec, timed, Path(run), options)
        return timed.result(given.batch)

    batch = sampler.batch(0, given.batch)
    began = time.perf_counter()
    for step in range(1, 4):
        sampler.batch(step, given.batch)
    alone = 3 * given.batch / (time.perf_counter() - began)
    rate, waited = measure(sampler)
    limit, _ = measure(Same(batch))
    facts = environment(torch.device(given.device))
    result = {"crops_per_s": rate, "waited": waited, "limit_crops_per_s": limit, "one_thread_crops_per_s": alone}
    if given.json:
        print(json.dumps({**vars(given), "folder": given.folder.name, **result, "environment": facts}))
        return
    print(f"{given.recipe} ({given.plan}), {given.batch} crops of {sampler.crop_px} px a step, {given.steps} steps")
    print(f"{facts.get('gpu', facts['processor'])}, {facts['threads']} threads, torch {facts['packages']['torch']}")
    print("| | crops/s | waited for crops |\n|---|---|---|")
    print(f"| training | {rate:.1f} | {waited:.1%} |")
    print(f"| one batch over and over: the limit | {limit:.1f} | – |")
    print(f"| preparing crops alone, one thread | {alone:.1f} | – |")


if __name__ == "__main__":
    main()
