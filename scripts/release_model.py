"""Put a trained model into the package: weights, ONNX file and a card with its measured numbers.

    python scripts/release_model.py runs/default/model.safetensors hover-unet-consep --data data/consep data/monuseg …

The models that there are to be, and what no measurement says of them, are in `ABOUT`. Where a student's run holds the
card of its distillation (`card.md`), that becomes a part of the card.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histocyte.datasets.cards import DATASETS
from histocyte.datasets.folder import load_folders
from histocyte.evaluation.protocol import evaluate
from histocyte.inference.load import load
from histocyte.model.checkpoint import load_model, save_model
from histocyte.model.onnx.export import export_onnx
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.pipeline import instances_on

ZOO = Path(__file__).parents[1] / "src" / "histocyte" / "model" / "zoo_files"


@dataclass(frozen=True)
class About:
    """What a card says that is not in the model's own description.

    Attributes:
        description: In a line.
        network: Its build, in words.
        encoder: What the encoder's weights were at first, and their licence.
        limits: Sentences, beyond those that all share.
    """

    description: str
    network: str
    encoder: str
    limits: str


RESNET = "ResNet-18 on ImageNet-1k (torchvision, BSD-3-Clause)"
U_NET = "U-Net over ResNet-18 (to its third stage), hover maps"
FEW = (
    "Trained on few images, the classes on colorectal tissue only, at one resolution. Class `other` is rare in\n"
    "the data and hardly found."
)
ABOUT = {
    "hover-unet-consep": About(
        "Outlines and four classes of nuclei on H&E at 0.25 µm/px; small and quick on a CPU.", U_NET, RESNET, FEW
    ),
    "hover-unet-consep-20x": About(
        "Outlines and four classes of nuclei on H&E at 0.5 µm/px, for slides scanned at 20×.",
        U_NET,
        RESNET,
        f"{FEW}\nIts images were scanned at 0.25 µm/px and made smaller: a scanner's own are a little less sharp.\n"
        "On images of 0.5 µm/px the default model, which enlarges them, is more exact and this one quicker:\n"
        "by how much, `benchmarks/coarse_slides.py` measures.",
    ),
    "hover-unet-consep-open": About(
        "Outlines and four classes of nuclei on H&E at 0.25 µm/px, from data that all permit commercial use.",
        U_NET,
        RESNET,
        f"{FEW}\nCoNSeP's licence is as others report it: make sure of it before you build a product on this model.",
    ),
    "hover-small-consep": About(
        "Outlines and four classes of nuclei on H&E at 0.25 µm/px, for laptops: taught by hover-unet-consep.",
        "narrow U-Net over the first stages of MobileNetV2, hover maps",
        "MobileNetV2 on ImageNet-1k (the weights of an 8-bit model, made 32-bit again; Apache-2.0)",
        f"{FEW} It sees only some 75 px around each pixel, and on skin it took dark keratin for nuclei.",
    ),
}

PEERS = """\
| Model | Parameters | Data | bPQ | Detection F1 |
|---|---|---|---|---|
| CellViT-SAM-H, 0.25 µm/px | 700 M | MoNuSeg, its 14 test images, not trained on MoNuSeg | .672 | .865 |
| CellViT-256, 0.25 µm/px | 47 M | the same | .661 | .848 |
"""

SCORES = ("bpq", "dq", "sq", "aji", "dice", "precision", "recall", "f1", "f1_most_pairs", "mpq", "mpq_plus")


def main() -> None:
    """Release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="the folders it was trained on")
    parser.add_argument("--decode", nargs="*", default=[], help="options of the representation, e.g. seam_drop=0.01")
    parser.add_argument("--external", type=Path, nargs="*", default=[], help="folders never trained or selected on")
    parser.add_argument("--views", type=int, help="measure it averaged over so many flips and turns too")
    arguments = parser.parse_args()
    if arguments.name not in ABOUT:
        parser.error(f"say in ABOUT what '{arguments.name}' is; it knows {', '.join(ABOUT)}")
    spec, network = load_model(arguments.model)
    options = {**spec.representation.options, **{k: json.loads(v) for k, v in (d.split("=") for d in arguments.decode)}}
    spec = spec.with_changes(
        name=arguments.name,
        description=ABOUT[arguments.name].description,
        licence=licence([entry.name for entry in spec.history.sets]),
        representation={"name": spec.representation.name, "options": options},
    )
    ZOO.mkdir(exist_ok=True)
    publish(spec, network)
    spec = spec.with_changes(metrics=measured(spec, arguments.data, arguments.external))
    publish(spec, network)
    ensemble = measured(spec, arguments.data, [], views=arguments.views) if arguments.views else {}
    parameters = sum(p.numel() for p in network.parameters())
    lines = [*card(spec, parameters, [folder.name for folder in arguments.external])]
    if ensemble:
        lines += ["", f"## Averaged over {arguments.views} views (`--views {arguments.views}`), held-out images", ""]
        lines += [f"The mean of the maps over flips and turns of each tile, {arguments.views} times slower.", ""]
        lines += scores(ensemble)
    taught = arguments.model.with_name("card.md")
    if "distilled_from" in spec.training and taught.is_file():
        lines += ["", *of_distillation(taught.read_text(encoding="utf-8"))]
    (ZOO / f"{spec.name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for path in sorted(ZOO.glob(f"{spec.name}.*")):
        print(f"{path.name:40} {path.stat().st_size / 1e6:6.2f} MB")


def licence(sets: Sequence[str]) -> str:
    """Of the weights: the strictest of the training data's."""
    if all(DATASETS[name].commercial for name in sets):
        return "CC BY 4.0 (weights; all training data permit commercial use with attribution)"
    return "CC BY-NC-SA 4.0 (weights; the strictest licence of the training data)"


def of_distillation(text: str) -> Iterator[str]:
    """Lines of the card that the run wrote, its title one among the others' headings."""
    for line in text.strip().splitlines():
        yield f"#{line}" if line.startswith("#") else line


HALF_FROM = 256
"""Tensors of fewer values stay in 32 bits, as in the ONNX file: norms, where precision counts."""


def publish(spec: ModelSpec, network: Segmenter) -> None:
    """Write both files, with the same weights: rounded to half precision, which halves what everyone downloads."""
    weights = {
        name: tensor.half() if tensor.is_floating_point() and tensor.numel() >= HALF_FROM else tensor
        for name, tensor in network.state_dict().items()
    }
    assert all(tensor.isfinite().all() for tensor in weights.values())
    network.load_state_dict(weights)
    save_model(ZOO / f"{spec.name}.safetensors", spec, weights)
    export_onnx(spec, network, ZOO / f"{spec.name}.onnx")


def measured(spec: ModelSpec, folders: list[Path], external: list[Path], *, views: int = 1) -> dict[str, Any]:
    """Scores of the released file, in the runtime that users get, on the images held out of training and others."""
    model = load(spec.name, runtime="openvino", views=views)
    samples = spec.history.unseen(load_folders(folders, taxonomy=spec.classes))
    samples += load_folders(external, taxonomy=spec.classes) if external else []
    report = evaluate(lambda image, mpp: instances_on(image, model, mpp=mpp), samples, spec.classes.names)
    sources: Any = report.to_json()["sources"]
    return dict(sources)


def card(spec: ModelSpec, parameters: int, external: Sequence[str]) -> Iterator[str]:
    """Lines of the model card."""
    yield f"# {spec.name}\n"
    yield f"{spec.description}\n"
    about = ABOUT[spec.name]
    yield f"- Network: {about.network}, {parameters / 1e6:.2f} M parameters."
    yield f"- Resolution: {spec.mpp:g} µm/px. Classes: {', '.join(spec.classes.names)}."
    yield f"- Licence: {spec.licence}."
    yield f"- Encoder started from {about.encoder}.\n"
    yield "## Data\n\n| Set | Images | Nuclei | Licence | Source |\n|---|---|---|---|---|"
    for entry in {e.name: e for e in reversed(spec.history.sets)}.values():
        cells = (entry.name, entry.images, f"{entry.nuclei:,}", entry.licence, entry.citation)
        yield "| " + " | ".join(str(c) for c in cells) + " |"
    yield "\nNuInsSeg's labels join some touching nuclei: it teaches the foreground only and is not scored."
    yield "CoNSeP alone has classes; the other sets teach outlines only.\n"
    yield "## Training\n"
    training, runs = spec.training, [spec.training]
    while "training" in runs[0].get("started_from", {}):
        runs.insert(0, runs[0]["started_from"]["training"])
    yield "```\n" + "\n".join(run["command"] for run in runs) + "\n```\n"
    steps = " and then ".join(f"{run['steps']:,}" for run in runs)
    yield f"{steps} batches, seed {training['seed']}. Held out, whole patients or slides of each set:\n"
    for source, names in spec.history.held_out.items():
        yield f"- {source}: {', '.join(names)}"
    decode = {k: v for k, v in spec.representation.options.items() if k not in ("classes", "nucleus_channels")}
    yield "\nThe weights are the running average at the best of the validations in the run. The held-out images chose"
    constants = ", ".join(f"{k} {v:g}" for k, v in decode.items())
    yield f"it and the constants of decoding ({constants}),"
    yield "nothing else; so their scores flatter the model a little."
    yield "External sets were never trained or selected on.\n"
    yield "## Validation, held-out images\n"
    yield "With 95 % bootstrap interval over patients or slides. `histocyte evaluate` gives these again.\n"
    yield from scores({k: v for k, v in spec.metrics.items() if k not in external})
    if external:
        yield "\n## External images\n"
        yield from scores({k: v for k, v in spec.metrics.items() if k in external}, classes=False)
    yield "\n## Peers, as published\n"
    yield PEERS
    yield "Other test images and training data than ours, so a guide to the level and no head-to-head comparison"
    yield "(Hörst et al. 2024, MedIA 94:103143, MoNuSeg, whole tiles).\n"
    yield "## Limits\n"
    yield about.limits
    yield "Frozen sections, cytology and stains other than H&E were not seen. Not for diagnosis."


def scores(metrics: Any, *, classes: bool = True) -> Iterator[str]:
    """One table for the sets, one for the classes."""
    yield "| Set | n | " + " | ".join(SCORES) + " |"
    yield "|---|---|" + "---|" * len(SCORES)
    for source, entry in metrics.items():
        values = [estimate(entry["scores"].get(key)) for key in SCORES]
        yield f"| {source} | {entry['n_images']} | " + " | ".join(values) + " |"
    if not classes:
        return
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
