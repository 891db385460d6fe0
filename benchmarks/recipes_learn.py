"""Does every recipe learn? Each is trained for a few hundred small steps on real labels and scored on held-out images.

    python benchmarks/recipes_learn.py DATA -o runs/recipes_learn

DATA holds consep/, tnbc/ and weights/. Encoders are small ones with weights at hand, or the recipe's own without any,
and all get the same crops; so the scores show that a recipe learns, not which one is best. A run goes on where it was
stopped; the table is made of what is finished.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from histocyte.core.taxonomies import CONSEP
from histocyte.datasets.folder import load_folders
from histocyte.datasets.sample import Sample
from histocyte.datasets.splits import split_by_group
from histocyte.evaluation.protocol import evaluate
from histocyte.inference.load import Model
from histocyte.inference.torch_runtime import TorchRuntime
from histocyte.model.build import build_representation
from histocyte.model.checkpoint import save_model
from histocyte.model.spec import ModelSpec
from histocyte.pipeline import instances_on
from histocyte.recipes.registry import RECIPES
from histocyte.runs.train.defaults import augmentation, start
from histocyte.training.crops import CropSampler
from histocyte.training.fit import TrainingOptions, fit

CROP_PX, FIELD_PX = 128, 256
RESNET = "resnet18_imagenet/resnet18_layer1-3_heBN.safetensors"
MOBILENET = "mobilenetv2_imagenet/mobilenetv2_100_ptq_heBN.safetensors"
VIT = "vit_tiny_patch16/vit_tiny_patch16_224_tinyimagenet.safetensors"


@dataclass(frozen=True)
class Case:
    """A recipe with the options that make it small, and the weights its encoder starts from."""

    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None


CASES = (
    Case("hover_unet", {}, RESNET),
    Case("hovernet"),
    Case("cellvit", {"encoder": "vit_tiny_patch16_224"}, VIT),
    Case("cellvit_stardist", {"encoder": "vit_tiny_patch16_224"}, VIT),
    Case("cellvit_cppnet", {"encoder": "vit_tiny_patch16_224"}, VIT),
    Case("stardist", {"encoder": "mobilenetv2_100"}, MOBILENET),
    Case("cellpose", {"encoder": "resnet18"}, RESNET),
    Case("lightweight_teacher", {"encoder": "vit_tiny_patch16_224", "patch_px": 16}, VIT),
    Case("lightweight_student"),
    Case("cisca", {"encoder": "mobilenetv2_100"}, MOBILENET),
    Case("frozen_encoder", {"encoder": "vit_tiny_patch16_224"}, VIT),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/recipes_learn"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", nargs="*", help="names of recipes")
    arguments = parser.parse_args()
    samples = load_folders([arguments.data / "consep", arguments.data / "tnbc"], taxonomy=CONSEP)
    training, held_out = split_by_group(samples, fraction=0.2, seed=0)
    fields = [centre(sample) for sample in held_out]
    print(f"{len(training)} images to train on; scored on the middle {FIELD_PX} px of {len(fields)} held-out images")
    for case in CASES:
        if not arguments.only or case.recipe in arguments.only:
            run = arguments.out / case.recipe
            learn(case, training, fields, arguments.data / "weights", run, arguments.steps, arguments.batch)
    print("\n".join(table(arguments.out)))


def learn(
    case: Case, training: Sequence[Sample], fields: Sequence[Sample], weights: Path, run: Path, steps: int, batch: int
) -> None:
    """Train one recipe and write result.json: scores before, half-way and at the end."""
    if (run / "result.json").exists():
        return
    spec = RECIPES[case.recipe](taxonomy=CONSEP, **case.options).with_changes(tissues=())
    model = start(spec, weights / case.weights if case.weights else None, seed=0)
    sampler = CropSampler(
        training, build_representation(spec.representation), augmentation(), crop_px=CROP_PX, mpp=spec.mpp, seed=0
    )
    options = TrainingOptions(
        steps=steps, batch=batch, average_decay=0.98, validate_every=steps // 2, checkpoint_every=50, learning_rate=5e-4
    )
    before = scores(model, spec, fields)
    began = time.monotonic()
    fit(model, spec, sampler, run, options, validate=lambda m: scores(m, spec, fields), progress=report(case.recipe))
    rows = [line.split(",") for line in (run / "validation.csv").read_text().splitlines()[1:]]
    curve = [before["bpq"], *(float(row[1]) for row in rows)]
    result = {
        "recipe": case.recipe,
        "encoder": str(spec.encoder.options.get("name", spec.encoder.name)),
        "weights": "real" if case.weights else "none",
        "maps": spec.representation.name,
        "decoder": spec.decoder.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "batch": batch,
        "bpq": curve,
        "f1": float(rows[-1][2]),
        "minutes": (time.monotonic() - began) / 60,
    }
    model.load_state_dict(load_file(run / "best.safetensors"))
    save_model(run / "model.safetensors", spec.with_changes(name=case.recipe), model.state_dict())
    (run / "result.json").write_text(json.dumps(result, indent=2))


def report(name: str) -> Any:
    def show(step: int, terms: Mapping[str, float]) -> None:
        if step % 25 == 0:
            print(f"{name} {step}: loss {terms['loss']:.3f}", flush=True)

    return show


def scores(network: nn.Module, spec: ModelSpec, fields: Sequence[Sample]) -> dict[str, float]:
    """Mean bPQ and detection F1 over the fields."""
    training = network.training
    runtime = TorchRuntime(network.eval(), device="cpu", threads=1, keep_threads=True)  # type: ignore[arg-type]
    model = Model(spec, runtime, build_representation(spec.representation), "")
    with torch.inference_mode():
        report = evaluate(
            lambda image, mpp: instances_on(image, model, mpp=mpp), fields, spec.classes.names, replicates=1
        )
    network.train(training)
    found = report.sources.values()
    return {key: sum(s.scores[key].value for s in found) / len(found) for key in ("bpq", "f1")}


def centre(sample: Sample) -> Sample:
    """The middle of an image, to score quickly."""
    height, width = sample.instances.shape
    top, left = (height - FIELD_PX) // 2, (width - FIELD_PX) // 2
    window = slice(top, top + FIELD_PX), slice(left, left + FIELD_PX)
    return replace(sample, image=sample.image[window], instances=sample.instances[window])


def table(out: Path) -> list[str]:
    """Markdown of all finished runs."""
    lines = [
        "| Recipe | Encoder (weights) | Decoder | Maps | Weights | Steps | bPQ before | half-way | end | F1, end |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        path = out / case.recipe / "result.json"
        if path.exists():
            r = json.loads(path.read_text())
            bpq = " | ".join(f"{value:.3f}" for value in r["bpq"])
            lines.append(
                f"| {r['recipe']} | {r['encoder']} ({r['weights']}) | {r['decoder']} | {r['maps']} "
                f"| {r['parameters'] / 1e6:.1f} M | {r['steps']} of {r['batch']} | {bpq} | {r['f1']:.3f} |"
            )
    return lines


if __name__ == "__main__":
    main()
