"""Choose a model's constants of decoding on the images held out of its training, and on no others.

    python scripts/tune_decoding.py runs/mine/model.safetensors --data data/consep data/tnbc \
        --vary seam_drop=0.01,0.02,0.035 smoothing_px=0.8,1.3 min_area_px=10,30,50

One option is varied at a time, in the order given and from the values that the model has; the value of the best bPQ,
the mean over data sets, stays. Ends with the options for `scripts/release_model.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.datasets.folder import load_folders
from histocyte.datasets.sample import Sample
from histocyte.evaluation.protocol import evaluate
from histocyte.inference.load import Model, load
from histocyte.inference.runtime import Runtime
from histocyte.model.build import build_representation
from histocyte.model.learnt_set import Standing
from histocyte.pipeline import instances_on


class Remembering(Runtime):
    """A runtime that predicts each tile once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._known = runtime, dict[bytes, NDArray[np.float16]]()
        self.name, self.device = runtime.name, runtime.device
        self.parallel, self.multiple = runtime.parallel, runtime.multiple

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (B, C, H, W) of images (B, H, W, 3)."""
        key = hashlib.sha256(images.tobytes() + str(images.shape).encode()).digest()
        if key not in self._known:
            self._known[key] = self._runtime.predict(images).astype(np.float16)  # as the pipeline keeps them
        return self._known[key].astype(np.float32)


def main() -> None:
    """Tune."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="the folders it was trained on")
    parser.add_argument("--vary", nargs="+", required=True, metavar="OPTION=VALUE,VALUE")
    arguments = parser.parse_args()
    model = load(arguments.model, runtime="torch", device="cpu")
    model = replace(model, runtime=Remembering(model.runtime))
    samples = load_folders(arguments.data, taxonomy=model.taxonomy)
    known = model.spec.history.know(samples)  # what was left out for a test is kept for it
    samples = [s for s, k in zip(samples, known, strict=True) if s.separable and k.standing == Standing.HELD_OUT]
    if not samples:
        parser.error("none of these images was held out of the model's training: pass the folders it was trained on")
    options: dict[str, Any] = {}
    best = score(model, samples, options)
    for varied in arguments.vary:
        option, _, values = varied.partition("=")
        for value in json.loads(f"[{values}]"):
            found = score(model, samples, {**options, option: value})
            if found > best:
                best, options = found, {**options, option: value}
    print("--decode", *(f"{k}={v}" for k, v in options.items()), f"# bPQ {best:.4f}")


def score(model: Model, samples: Sequence[Sample], options: dict[str, Any]) -> float:
    """Mean bPQ over data sets, with these options in place of the model's own."""
    part = model.spec.representation
    tried = replace(
        model, representation=build_representation(part.model_copy(update={"options": {**part.options, **options}}))
    )
    report = evaluate(
        lambda image, mpp: instances_on(image, tried, mpp=mpp), samples, tried.taxonomy.names, replicates=1
    )
    scores = {source: found.scores["bpq"].value for source, found in report.sources.items()}
    mean = sum(scores.values()) / len(scores)
    print(f"{mean:.4f}", " ".join(f"{k} {v:.4f}" for k, v in scores.items()), options, flush=True)
    return mean


if __name__ == "__main__":
    main()
