"""Put a trained model into the package: weights, ONNX file and a card with its measured numbers.

Run: python scripts/release_model.py runs/default/model.safetensors hover-unet-consep
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from histocyte.model.checkpoint import load_model, save_model
from histocyte.model.onnx_export import export_onnx
from histocyte.model.spec import ModelSpec

ZOO = Path(__file__).parents[1] / "src" / "histocyte" / "model" / "zoo_files"

DESCRIPTION = "Outlines and four classes of nuclei on H&E at 0.25 µm/px; small and quick on a CPU."
LICENCE = "CC BY-NC-SA 4.0 (weights; the strictest licence of the training data)"

PEERS = """\
| Model | Parameters | Data | bPQ | Detection F1 |
|---|---|---|---|---|
| CellViT-SAM-H, 0.25 µm/px | 700 M | MoNuSeg, its 14 test images, not trained on MoNuSeg | .672 | .865 |
| CellViT-256, 0.25 µm/px | 47 M | the same | .661 | .848 |
"""

SCORES = ("bpq", "dq", "sq", "aji", "dice", "precision", "recall", "f1", "mpq", "mpq_plus")


def main() -> None:
    """Release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    spec, network = load_model(arguments.model)
    spec = spec.with_changes(name=arguments.name, description=DESCRIPTION, licence=LICENCE)
    ZOO.mkdir(exist_ok=True)
    save_model(ZOO / f"{spec.name}.safetensors", spec, network.state_dict())
    export_onnx(spec, network, ZOO / f"{spec.name}.onnx")
    parameters = sum(p.numel() for p in network.parameters())
    (ZOO / f"{spec.name}.md").write_text("\n".join(card(spec, parameters)) + "\n", encoding="utf-8")
    for path in sorted(ZOO.glob(f"{spec.name}.*")):
        print(f"{path.name:40} {path.stat().st_size / 1e6:6.2f} MB")


def card(spec: ModelSpec, parameters: int) -> Iterator[str]:
    """Lines of the model card."""
    yield f"# {spec.name}\n"
    yield f"{spec.description}\n"
    yield f"- Network: U-Net over ResNet-18 (to its third stage), hover maps, {parameters / 1e6:.2f} M parameters."
    yield f"- Resolution: {spec.mpp:g} µm/px. Classes: {', '.join(spec.classes.names)}."
    yield f"- Licence: {spec.licence}."
    yield "- Encoder started from ResNet-18 on ImageNet-1k (torchvision, BSD-3-Clause); stem, first stage kept.\n"
    yield "## Data\n\n| Set | Images | Nuclei | Licence | Source |\n|---|---|---|---|---|"
    for entry in spec.data:
        cells = (entry["name"], entry["images"], f"{entry['nuclei']:,}", entry["licence"], entry["citation"])
        yield "| " + " | ".join(str(c) for c in cells) + " |"
    yield "\nNuInsSeg's labels join some touching nuclei: it teaches the foreground only and is not scored."
    yield "CoNSeP alone has classes; the other sets teach outlines only.\n"
    yield "## Training\n"
    yield f"```\n{spec.training['command']}\n```\n"
    training = spec.training
    yield f"{training['steps']:,} batches, seed {training['seed']}. Held out, whole patients or slides of each set:\n"
    for source, names in spec.training["held_out"].items():
        yield f"- {source}: {', '.join(names)}"
    yield "\nThe weights are the running average that scored the best mean bPQ on the held-out images; so these were"
    yield "used to choose among the run's validations, and for nothing else.\n"
    yield "## Validation, held-out images\n"
    yield "With 95 % bootstrap interval over patients or slides. `histocyte evaluate` gives these again.\n"
    yield from scores(spec.metrics)
    yield "\n## Peers, as published\n"
    yield PEERS
    yield "Other test images and training data than ours, so a guide to the level and no head-to-head comparison"
    yield "(Hörst et al. 2024, MedIA 94:103143, MoNuSeg, whole tiles).\n"
    yield "## Limits\n"
    yield "Trained on few images, the classes on colorectal tissue only, at one resolution. Class `other` is rare in"
    yield "the data and hardly found. Frozen sections, cytology and stains other than H&E were not seen."
    yield "Not for diagnosis."


def scores(metrics: Any) -> Iterator[str]:
    """One table for the sets, one for the classes."""
    yield "| Set | n | " + " | ".join(SCORES) + " |"
    yield "|---|---|" + "---|" * len(SCORES)
    for source, entry in metrics.items():
        values = [estimate(entry["scores"].get(key)) for key in SCORES]
        yield f"| {source} | {entry['n_images']} | " + " | ".join(values) + " |"
    yield "\n| Set | Class | True | F1 | PQ, pooled |\n|---|---|---|---|---|"
    for source, entry in metrics.items():
        for c in entry["classes"]:
            if c["n_truth"]:
                yield f"| {source} | {c['name']} | {c['n_truth']:,} | {estimate(c['f1'])} | {estimate(c['pq'])} |"


def estimate(value: Any) -> str:
    """A number with its interval."""
    if value is None or value["value"] is None:
        return "–"
    interval = "" if value["low"] is None else f" ({value['low']:.3f}–{value['high']:.3f})"
    return f"{value['value']:.3f}{interval}"


if __name__ == "__main__":
    main()
