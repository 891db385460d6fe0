"""An ONNX file that gives features gives those of torch, and vectors of cells without it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from histocyte.apps.cli.models.export import export
from histocyte.core.errors import InputError, ModelError
from histocyte.inference.embed import FieldFeatures
from histocyte.inference.load import load
from histocyte.inference.onnx_runtime import OnnxRuntime
from histocyte.inference.openvino_runtime import OpenVinoRuntime
from histocyte.inference.predict import predict_field
from histocyte.inference.runtime import features_of
from histocyte.model.onnx.features import features_in
from histocyte.model.onnx.metadata import FEATURES_KEY
from histocyte.model.zoo import DEFAULT_MODEL, ModelFiles, bundled_models
from histocyte.runs.quantise.export import export_int8
from histocyte.testing.synthetic import paint_tissue

pytestmark = pytest.mark.torch

PLAIN = bundled_models()[DEFAULT_MODEL].onnx


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return paint_tissue((192, 160), seed=5).image


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("models") / "features.onnx"
    export(DEFAULT_MODEL, path, features=True)
    return path


@pytest.mark.parametrize("runtime", [OpenVinoRuntime, OnnxRuntime])
def test_features_are_those_of_torch(
    runtime: type[OpenVinoRuntime] | type[OnnxRuntime], file: Path, image: np.ndarray
) -> None:
    by_torch = load(runtime="torch", device="cpu", workers=1).runtime
    ours = runtime(file, threads=1)
    assert ours.features == by_torch.features
    expected, found = by_torch.predict_with_features(image[None]), ours.predict_with_features(image[None])
    assert found[1].shape == expected[1].shape
    assert found[1].dtype == np.float16
    assert np.abs(found[0] - expected[0]).max() < 0.02
    np.testing.assert_allclose(found[1].astype(float), expected[1].astype(float), atol=0.02 * np.abs(expected[1]).max())
    np.testing.assert_array_equal(ours.predict(image[None]), found[0])


def test_cells_get_vectors_without_torch(file: Path, image: np.ndarray) -> None:
    runtime = OpenVinoRuntime(file, threads=1)
    features = FieldFeatures(features_of(runtime))
    predict_field(image, runtime, channels=8, tile_px=128, margin_px=16, features=features)
    labels = np.zeros(image.shape[:2], np.int32)
    labels[20:40, 20:40], labels[100:120, 140:160] = 1, 2
    vectors = features.pool(labels)
    assert vectors.shape == (2, features_of(runtime).width)
    assert np.abs(vectors).sum(axis=1).min() > 0


def test_a_plain_file_gives_none() -> None:
    assert PLAIN is not None
    assert features_in(PLAIN) is None
    for runtime in (OpenVinoRuntime(PLAIN, threads=1), OnnxRuntime(PLAIN, threads=1)):
        with pytest.raises(InputError, match="no vectors"):
            runtime.predict_with_features(np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="gives no features"):
        export_int8(ModelFiles("a", PLAIN, None), Path("never.onnx"), [], features=True)


def test_features_that_are_described_otherwise_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(PLAIN))
    entry = model.metadata_props.add()
    entry.key, entry.value = FEATURES_KEY, json.dumps({"name": "a", "depth": 4})
    onnx.save(model, str(tmp_path / "later.onnx"))
    with pytest.raises(ModelError, match="Export it again"):
        features_in(tmp_path / "later.onnx")
