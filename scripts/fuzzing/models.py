"""Model files, classifiers, and checkpoints of others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from fuzzing.inputs import MODEL, write_json
from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONSEP
from histocyte.core.tiles import tile_spans
from histocyte.inference.load import RuntimeName, load
from histocyte.model.build import build_representation
from histocyte.model.checkpoint import read_spec
from histocyte.model.classifier import ClassifierSpec, Head, load_classifier, save_classifier
from histocyte.model.onnx.features import features_in
from histocyte.model.onnx.metadata import check_numbers, read_onnx_spec
from histocyte.model.spec import ModelSpec
from histocyte.model.zoo import find_model
from histocyte.testing.attack import Target


def copied(name: str) -> Callable[[Path], None]:
    """Writes the bundled model in the form that a file's ending names."""

    def make(folder: Path) -> None:
        source = getattr(find_model(MODEL), name.partition(".")[2])
        (folder / name).write_bytes(source.read_bytes())

    return make


def classifier(folder: Path) -> None:
    """A linear classifier."""
    spec = ClassifierSpec(taxonomy=CONSEP.to_json(), model="m", model_sha256="0" * 64, embedding="e", width=6)
    layer = (np.ones((4, 6), np.float32), np.zeros(4, np.float32))
    save_classifier(folder / "c.safetensors", spec, Head(np.zeros(6, np.float32), np.ones(6, np.float32), (layer,)))


def classify(folder: Path) -> None:
    """Read it and use it."""
    found = load_classifier(folder / "c.safetensors")
    repr(found)
    assert np.isfinite(found.probabilities(np.zeros((2, found.spec.width), np.float32))).all()


def run_model(path: Path, runtime: RuntimeName) -> None:
    """Load a model and give it an image."""
    loaded = load(str(path), runtime=runtime, workers=1, device="cpu")
    loaded.runtime.predict(np.full((1, 32, 32, 3), 200, np.uint8))


def read_models(path: Path) -> None:
    """What is done with a model before it is run."""
    if path.suffix == ".onnx":
        spec = read_onnx_spec(path)
        check_numbers(path)
        features_in(path)
    else:
        spec = read_spec(path)
    repr(spec)
    representation = build_representation(spec.representation)
    assert sum(maps.channels for maps in representation.maps) > 0
    tile_spans(3000, tile_px=spec.tile_px, margin_px=spec.margin_px, multiple=spec.multiple)
    again = ModelSpec.parse(spec.model_dump_json(), where="itself")
    assert again.model_dump_json() == spec.model_dump_json()


def checkpoint(folder: Path) -> None:
    """Weights as PyTorch stores them, those of no network that is known."""
    import torch

    torch.save({"arch": "CellViT", "config": {}, "model_state_dict": {"a.weight": torch.ones(3)}}, folder / "w.pth")


def convert(folder: Path) -> None:
    """Read it as a checkpoint of a model, and as an encoder's weights."""
    from histocyte.conversion.file import read_foreign
    from histocyte.encoders.weights.files import read_tensors

    read_foreign(folder / "w.pth")
    with contextlib.suppress(InputError):  # said of this file too
        read_tensors(folder / "w.pth")


def encoder(folder: Path) -> None:
    """An encoder's folder as the hub has it, of timm, and one of transformers; weights in shards."""
    normal = {"input_size": [3, 64, 64], "mean": [0.7, 0.5, 0.7], "std": [0.2, 0.2, 0.1], "license": "mit"}
    arguments = {"img_size": 64, "depth": 4, "reg_tokens": 2, "dynamic_img_size": True}
    write_json(
        folder / "timm" / "config.json",
        {"architecture": "vit_tiny_patch16_224", "model_args": arguments, "pretrained_cfg": normal},
    )
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 4}
    shape = {"model_type": "vit", "patch_size": 16, "hidden_act": "gelu", "num_channels": 3, "image_size": 64}
    write_json(folder / "vit" / "config.json", {**sizes, **shape, "qkv_bias": True})
    write_json(folder / "vit" / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    shards = {"a": "one.safetensors", "b": "two.safetensors"}
    write_json(folder / "vit" / "model.safetensors.index.json", {"metadata": {}, "weight_map": shards})
    for name, shard in shards.items():
        save_file({name: np.ones(3, np.float32)}, folder / "vit" / shard)


def read_encoder(folder: Path) -> None:
    """Its card, and its tensors."""
    from histocyte.encoders.catalog.find import find_card
    from histocyte.encoders.weights.files import read_tensors

    find_card(str(folder / "timm"))
    find_card(str(folder / "vit"))
    read_tensors(folder / "vit" / "model.safetensors.index.json")


ENCODER = (
    *("timm/config.json", "vit/config.json", "vit/preprocessor_config.json"),
    *("vit/model.safetensors.index.json", "vit/one.safetensors"),
)


def model(name: str, file: str, use: Callable[[Path], object], *, share: float = 1.0, needs: str = "") -> Target:
    """A target whose only input is a copy of a bundled model."""
    return Target(name, copied(file), (file,), lambda folder: use(folder / file), share, needs)


TARGETS = (
    model("model safetensors", "m.safetensors", read_models, share=5),
    model("model onnx", "m.onnx", read_models, share=5),
    model("model run", "m.onnx", lambda path: run_model(path, "openvino"), share=0.2),
    model("model run torch", "m.safetensors", lambda path: run_model(path, "torch"), share=0.2, needs="torch"),
    Target("classifier", classifier, ("c.safetensors",), classify, share=5),
    Target("encoder", encoder, ENCODER, read_encoder, share=0.5, needs="torch"),
    Target("checkpoint pth", checkpoint, ("w.pth",), convert, needs="torch"),
)
