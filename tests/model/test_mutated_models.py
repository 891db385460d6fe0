"""Some hundreds of damaged model files, drawn by a seed: each is read as it is or refused in one line.

More of them, for an afternoon: raise `TIMES`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histocyte.core.taxonomy import CONSEP
from histocyte.inference.classifier import CLASSIFIER_KEY, ClassifierSpec, Head, load_classifier, save_classifier
from histocyte.inference.load import load
from histocyte.inference.onnx_features import features_in
from histocyte.inference.predict import tile_spans
from histocyte.model.build import build_representation
from histocyte.model.checkpoint import SPEC_KEY, read_spec
from histocyte.model.onnx_metadata import FEATURES_KEY, check_numbers, read_onnx_spec
from histocyte.model.spec import ModelSpec
from histocyte.model.zoo import find_model
from histocyte.testing.mutations import (
    failures,
    mutated_bytes,
    mutated_json,
    safetensors_header,
    with_onnx_metadata,
    with_safetensors_header,
)

TIMES = 1
FILES = find_model("hover-small-consep")
assert FILES.onnx is not None
assert FILES.safetensors is not None
ONNX, SAFETENSORS = FILES.onnx.read_bytes(), FILES.safetensors.read_bytes()
SPEC: dict[str, Any] = {
    key: value
    for key, value in json.loads(read_spec(FILES.safetensors).model_dump_json()).items()
    if key not in ("metrics", "training", "history", "data", "quantised")  # any JSON at all
}

Case = tuple[str, Callable[[], object]]


def used(spec: ModelSpec) -> None:
    """What is done with every spec that is let in."""
    repr(spec)
    representation = build_representation(spec.representation)
    assert sum(m.channels for m in representation.maps) > 0
    tile_spans(3000, tile_px=spec.tile_px, margin_px=spec.margin_px, multiple=spec.multiple)
    assert read_back(spec) == spec


def read_back(spec: ModelSpec) -> ModelSpec:
    return ModelSpec.parse(spec.model_dump_json(), where="itself")


def tried(path: Path, content: bytes, use: Callable[[Path], object]) -> Callable[[], object]:
    def attempt() -> object:
        path.write_bytes(content)
        return use(path)

    return attempt


def safetensors_cases(path: Path) -> Iterator[Case]:
    header = safetensors_header(SAFETENSORS)
    for seed in range(100 * TIMES):
        draw = random.Random(seed)
        yield f"bytes {seed}", tried(path, mutated_bytes(SAFETENSORS, draw), lambda p: used(read_spec(p)))
        changed = with_safetensors_header(SAFETENSORS, mutated_json(header, draw))
        yield f"header {seed}", tried(path, changed, lambda p: used(read_spec(p)))
    for seed in range(200 * TIMES):
        text = json.dumps(mutated_json(SPEC, random.Random(seed)))
        changed = with_safetensors_header(SAFETENSORS, {**header, "__metadata__": {SPEC_KEY: text}})
        yield f"spec {seed}", tried(path, changed, lambda p: used(read_spec(p)))


def onnx_cases(path: Path) -> Iterator[Case]:
    def looked_at(path: Path) -> None:
        used(read_onnx_spec(path))
        check_numbers(path)
        features_in(path)

    info = {"name": "x", "width": 8, "border_px": 0}
    for seed in range(100 * TIMES):
        draw = random.Random(seed)
        yield f"bytes {seed}", tried(path, mutated_bytes(ONNX, draw), looked_at)
        texts = {SPEC_KEY: json.dumps(mutated_json(SPEC, draw)), FEATURES_KEY: json.dumps(mutated_json(info, draw))}
        yield f"metadata {seed}", tried(path, with_onnx_metadata(ONNX, texts), looked_at)
    image = np.full((1, 32, 32, 3), 200, np.uint8)
    for seed in range(15 * TIMES):
        changed = mutated_bytes(ONNX, random.Random(seed))
        yield f"run {seed}", tried(path, changed, lambda p: load(p, workers=1, device="cpu").runtime.predict(image))


def classifier_cases(path: Path) -> Iterator[Case]:
    spec = ClassifierSpec(taxonomy=CONSEP.to_json(), model="m", model_sha256="0" * 64, embedding="e", width=6)
    head = Head(
        np.zeros(6, np.float32), np.ones(6, np.float32), ((np.ones((4, 6), np.float32), np.zeros(4, np.float32)),)
    )
    save_classifier(path, spec, head)
    whole = path.read_bytes()
    header = safetensors_header(whole)

    def look(path: Path) -> None:
        found = load_classifier(path)
        repr(found)
        assert np.isfinite(found.probabilities(np.zeros((2, found.spec.width), np.float32))).all()

    for seed in range(100 * TIMES):
        draw = random.Random(seed)
        yield f"bytes {seed}", tried(path, mutated_bytes(whole, draw), look)
        yield f"header {seed}", tried(path, with_safetensors_header(whole, mutated_json(header, draw)), look)
        text = json.dumps(mutated_json(json.loads(spec.model_dump_json()), draw))
        changed = with_safetensors_header(whole, {**header, "__metadata__": {CLASSIFIER_KEY: text}})
        yield f"spec {seed}", tried(path, changed, look)


@pytest.mark.parametrize(
    ("name", "cases"),
    [("m.safetensors", safetensors_cases), ("m.onnx", onnx_cases), ("c.safetensors", classifier_cases)],
)
def test_damaged_files_end_in_one_line(tmp_path: Path, name: str, cases: Callable[[Path], Iterator[Case]]) -> None:
    assert failures(cases(tmp_path / name)) == []
