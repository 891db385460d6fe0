"""Classifiers of cells: the file and what it refuses, numpy as torch has it, and classes in every output of a slide."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load as tensors_in
from safetensors.numpy import save

from histocyte.core.errors import InputError, ModelError
from histocyte.core.instances import Labels
from histocyte.core.taxonomies import CONSEP
from histocyte.core.taxonomy import CellClass, Taxonomy
from histocyte.formats.geoparquet import read_cells
from histocyte.inference.load import Model
from histocyte.model.classifier import (
    CLASSIFIER_KEY,
    CellClassifier,
    ClassifierSpec,
    Head,
    load_classifier,
    save_classifier,
)
from histocyte.model.zoo import find_model
from histocyte.pipeline import instances_on, instances_with_vectors, segment_image
from histocyte.results import Options, segment_to_folder
from histocyte.testing.perfect import paint_truth

OWN = Taxonomy("mine", (CellClass("tumour", (200, 0, 0)), CellClass("<rest> of it", (0, 0, 200))))


def head(width: int = 3, classes: int = 2, hidden: int = 0, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    widths = [width, *([hidden] if hidden else []), classes]
    layers = [
        (rng.normal(size=(b, a)).astype(np.float32), rng.normal(size=b).astype(np.float32))
        for a, b in zip(widths[:-1], widths[1:], strict=True)
    ]
    mean, std = rng.normal(100, 20, width), rng.uniform(5, 50, width)
    return Head(mean.astype(np.float32), std.astype(np.float32), tuple(layers))


def spec(**changes: object) -> ClassifierSpec:
    facts = {"taxonomy": OWN.to_json(), "model": "perfect", "model_sha256": "0" * 64, "embedding": "colour", "width": 3}
    return ClassifierSpec.model_validate({**facts, **changes})


@pytest.mark.parametrize("hidden", [0, 7])
def test_a_file_read_back_is_what_was_written(tmp_path: Path, hidden: int) -> None:
    made = save_classifier(tmp_path / "c.safetensors", spec(scores={"n": 3}), head(hidden=hidden))
    read = load_classifier(tmp_path / "c.safetensors")
    assert read.spec == made.spec
    assert read.sha256 == made.sha256
    assert read.taxonomy == OWN
    vectors = np.random.default_rng(1).normal(100, 30, (9, 3)).astype(np.float32)
    np.testing.assert_array_equal(read.probabilities(vectors), made.probabilities(vectors))
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_probabilities_are_those_of_a_softmax_and_of_no_cell_none() -> None:
    made = head()
    found = made.probabilities(np.full((4, 3), 1e4, np.float32))  # far out: nothing overflows
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert made.probabilities(np.zeros((0, 3), np.float32)).shape == (0, 2)


@pytest.mark.parametrize("hidden", [0, 16])
def test_numpy_gives_what_torch_gives(hidden: int) -> None:
    torch = pytest.importorskip("torch")
    from histocyte.training.classifier import network_of

    made = head(width=40, classes=5, hidden=hidden)
    network = network_of(40, 5, hidden, 0.1).eval()
    linear = [part for part in network if isinstance(part, torch.nn.Linear)]
    with torch.no_grad():
        for part, (weight, bias) in zip(linear, made.layers, strict=True):
            part.weight.copy_(torch.from_numpy(weight))
            part.bias.copy_(torch.from_numpy(bias))
    vectors = np.random.default_rng(2).normal(100, 30, (200, 40)).astype(np.float32)
    standard = torch.from_numpy((vectors - made.mean) / made.std)
    with torch.inference_mode():
        expected = network(standard).softmax(dim=1).numpy()
    np.testing.assert_allclose(made.probabilities(vectors), expected, rtol=1e-4, atol=1e-6)


def damaged(content: bytes, how: str) -> bytes:
    tensors, about = tensors_in(content), json.loads(content[8:][: int.from_bytes(content[:8], "little")])
    metadata = about["__metadata__"]
    if how == "cut off":
        return content[:-5]
    if how == "not a number":
        tensors["mean"] = tensors["mean"] * np.float32("nan")
    if how == "no spread":
        tensors["std"] = tensors["std"] * 0
    if how == "one class less":
        tensors |= {"layers.0.weight": tensors["layers.0.weight"][:1], "layers.0.bias": tensors["layers.0.bias"][:1]}
    if how == "an array less":
        del tensors["layers.0.bias"]
    if how == "no spec":
        metadata = {CLASSIFIER_KEY: "{}"}
    if how == "no taxonomy":
        metadata = {CLASSIFIER_KEY: json.dumps({**json.loads(metadata[CLASSIFIER_KEY]), "taxonomy": {}})}
    return save({name: np.ascontiguousarray(t) for name, t in tensors.items()}, metadata=metadata)


DAMAGES = ["cut off", "not a number", "no spread", "one class less", "an array less", "no spec", "no taxonomy"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, how: str) -> None:
    path = tmp_path / "c.safetensors"
    save_classifier(path, spec(), head())
    path.write_bytes(damaged(path.read_bytes(), how))
    with pytest.raises(ModelError, match="is damaged.*train classifier") as refused:
        load_classifier(path)
    assert "\n" not in str(refused.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_classifier(tmp_path / "none.safetensors")
    for content in (b"", b"nothing of the kind", b"\xff" * 40, save({"a": np.zeros(2, np.float32)})):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ModelError, match="not a classifier"):
            load_classifier(tmp_path / "x")
    model = find_model("hover-unet-consep").safetensors
    assert model is not None
    with pytest.raises(ModelError, match="pass it as the model"):
        load_classifier(model)


def by_red(model: Model, tmp_path: Path, *, sign: float = 1.0) -> CellClassifier:
    """Calls a cell whose mean red is above 128 the first class, or with the sign -1 the second."""
    weight = np.array([[sign, 0, 0], [-sign, 0, 0]], np.float32)
    made = Head(np.full(3, 128, np.float32), np.full(3, 4, np.float32), ((weight, np.zeros(2, np.float32)),))
    path = tmp_path / f"red{sign:g}.safetensors"
    save_classifier(path, spec(model=model.spec.name, model_sha256=model.sha256), made)
    return load_classifier(path)


def test_another_model_or_other_vectors_are_refused_by_name(colourful: Model, perfect_model: Model) -> None:
    made = CellClassifier(spec(model="theirs", model_sha256="ab" * 32), head(), "1", "their.safetensors")
    with pytest.raises(
        InputError, match=r"'their.safetensors' was made for the model 'theirs' .*abababababab.*--model"
    ):
        colourful.classified_by(made)
    for changes in ({"embedding": "shape"}, {"width": 4}):
        with pytest.raises(InputError, match="its vectors here are 'colour'"):
            colourful.classified_by(replace(made, spec=spec(**changes)))
    with pytest.raises(InputError, match="--runtime torch"):
        perfect_model.classified_by(replace(made, spec=spec()))
    assert colourful.classified_by(replace(made, spec=spec())).taxonomy == OWN


def scene() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    y, x = np.mgrid[:300, :300]
    labels = np.zeros((300, 300), np.int32)
    centres = [(r, c) for r in range(20, 300, 36) for c in range(20, 300, 36)]
    for number, (row, column) in enumerate(centres, 1):
        labels[(y - row) ** 2 + (x - column) ** 2 < 90 + number % 7 * 15] = number
    types = np.arange(len(centres) + 1, dtype=np.uint8) % 4 + 1
    return paint_truth(Labels(labels, types), CONSEP), labels


def is_red(image: NDArray[np.uint8], labels: NDArray[np.int32], xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    ids = labels[xy[:, 1].astype(int), xy[:, 0].astype(int)]
    return np.array([image[labels == i, 0].mean() > 128 for i in ids])


def test_vectors_of_an_image_fit_its_instances_at_any_resolution(colourful: Model) -> None:
    image, labels = scene()
    found, vectors = instances_with_vectors(image, colourful, mpp=0.25)
    assert len(found) == len(vectors) == labels.max()
    for number, vector in enumerate(vectors, 1):
        np.testing.assert_allclose(vector, image[found.labels == number].mean(axis=0), rtol=2e-3)
    coarse = np.ascontiguousarray(image[::2, ::2])
    found, vectors = instances_with_vectors(coarse, colourful, mpp=0.5)
    assert len(found) == len(vectors) > 0


def test_cells_of_an_image_get_the_classes_of_the_classifier(colourful: Model, tmp_path: Path) -> None:
    image, labels = scene()
    model = colourful.classified_by(by_red(colourful, tmp_path))
    cells = segment_image(image, model, mpp=0.25)
    assert cells.taxonomy == OWN
    assert cells.embeddings is None
    red = is_red(image, labels, cells.xy)
    assert 0 < red.sum() < len(cells)
    np.testing.assert_array_equal(cells.class_index == 0, red)
    plain = segment_image(image, colourful, mpp=0.25)
    np.testing.assert_array_equal(plain.xy, cells.xy)
    found = instances_on(image, model, mpp=0.25)
    assert found.class_probabilities.shape == (labels.max(), 2)


def test_every_output_of_a_slide_speaks_of_the_new_classes(colourful: Model, tmp_path: Path) -> None:
    image, labels = scene()
    cv2.imwrite(str(tmp_path / "slide.png"), image[..., ::-1])
    classifier = by_red(colourful, tmp_path)
    record = segment_to_folder(
        tmp_path / "slide.png", tmp_path / "out", colourful.classified_by(classifier), Options(mpp=0.25)
    )
    cells = read_cells(record.outputs["parquet"])
    assert cells.taxonomy == OWN
    red = is_red(image, labels, cells.xy)
    np.testing.assert_array_equal(cells.class_index == 0, red)
    assert (cells.class_prob > 0.5).all()
    assert record.classes == {"tumour": red.sum(), "<rest> of it": (~red).sum()}
    with gzip.open(record.outputs["geojson"]) as file:
        features = json.load(file)["features"]
    names = [f["properties"]["classification"]["name"] for f in features]
    assert sorted(names) == sorted(["tumour"] * red.sum() + ["<rest> of it"] * (~red).sum())
    assert "tumour" in Path(record.outputs["summary"]).read_text()
    manifest = json.loads(Path(record.outputs["run"]).read_text())
    assert manifest["classifier"] == classifier.where
    assert manifest["signature"]["classifier"] == classifier.sha256
    assert "embeddings" not in record.outputs


def test_results_of_two_classifiers_do_not_mix(colourful: Model, tmp_path: Path) -> None:
    image, _ = scene()
    cv2.imwrite(str(tmp_path / "slide.png"), image[..., ::-1])
    one, other = (colourful.classified_by(by_red(colourful, tmp_path, sign=sign)) for sign in (1, -1))
    options = Options(mpp=0.25)

    def segmented(model: Model, options: Options = options) -> dict[str, object]:
        return segment_to_folder(tmp_path / "slide.png", tmp_path / "out", model, options)

    first = segmented(one)
    assert segmented(one).already_done
    for model in (other, colourful):
        with pytest.raises(InputError, match="another classifier"):
            segmented(model)
    second = segmented(other, replace(options, force=True))
    assert list(first.classes.values()) == list(second.classes.values())[::-1]  # type: ignore[attr-defined]


def test_an_interrupted_run_does_not_go_on_with_another_classifier(
    colourful: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = scene()
    cv2.imwrite(str(tmp_path / "slide.png"), image[..., ::-1])

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    one, other = (colourful.classified_by(by_red(colourful, tmp_path, sign=sign)) for sign in (1, -1))
    with monkeypatch.context() as patched:
        patched.setattr("histocyte.results.folder.write_outputs", fail)  # all blocks are journalled by then
        with pytest.raises(KeyboardInterrupt):
            segment_to_folder(tmp_path / "slide.png", tmp_path / "out", one, Options(mpp=0.25))
    record = segment_to_folder(tmp_path / "slide.png", tmp_path / "out", other, Options(mpp=0.25))
    assert record.resumed_blocks == 0
    fresh = segment_to_folder(tmp_path / "slide.png", tmp_path / "fresh", other, Options(mpp=0.25))
    assert record.classes == fresh.classes
