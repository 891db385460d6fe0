"""A model in 8-bit integers is a model like any other, and says what it is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from histocyte.core.errors import InputError, ResolutionError
from histocyte.inference.load import load, spec_of
from histocyte.metrics.panoptic import panoptic_counts
from histocyte.model.zoo import DEFAULT_MODEL, ModelFiles, bundled_models, find_model
from histocyte.pipeline import instances_on
from histocyte.runs.quantise.export import export_int8
from histocyte.runs.quantise.tiles import calibration_tiles
from histocyte.testing.pyramid import write_pyramid
from histocyte.testing.synthetic import paint_tissue


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return paint_tissue((640, 512), seed=5).image


@pytest.fixture(scope="module")
def slide(image: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "tissue.tiff"
    write_pyramid(path, image, 0.25)
    return path


@pytest.fixture(scope="module")
def int8_file(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    out = tmp_path_factory.mktemp("models") / "quick.onnx"
    files = ModelFiles("default", bundled_models()[DEFAULT_MODEL].onnx, None)
    export_int8(files, out, [slide.parent], count=4)
    return out


def test_the_file_says_that_it_is_int8_and_what_it_was_calibrated_on(int8_file: Path, slide: Path) -> None:
    spec, source = spec_of(find_model(int8_file)), bundled_models()[DEFAULT_MODEL]
    assert source.onnx is not None
    assert spec.name == f"{DEFAULT_MODEL}-int8"
    assert spec.quantised is not None
    assert spec.quantised.calibrated_on == (slide.parent.name,)
    assert (spec.quantised.slides, spec.quantised.tiles, spec.quantised.tile_px) == (1, 4, 256)
    assert spec.quantised.made_of == hashlib.sha256(source.onnx.read_bytes()).hexdigest()
    assert len(spec.quantised.float_layers) == 3
    assert not spec.metrics
    same = spec.with_changes(name=DEFAULT_MODEL, quantised=None, metrics=spec_of(source).metrics)
    assert same == spec_of(ModelFiles("", source.onnx, None))
    assert int8_file.stat().st_size < 0.6 * source.onnx.stat().st_size


def test_steps_of_a_unet_stay_whole_in_8_bits(slide: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")
    files = bundled_models()["hover-small-consep"]
    assert files.onnx is not None
    export_int8(files, tmp_path / "quick.onnx", [slide.parent], count=1)
    kinds = [{n.op_type for n in onnx.load(str(f)).graph.node} for f in (files.onnx, tmp_path / "quick.onnx")]
    assert ["ConvTranspose" in each for each in kinds] == [True, False]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_cells_are_those_of_the_model_in_float(runtime: str, int8_file: Path, image: np.ndarray) -> None:
    one, other = load(runtime="openvino", workers=1), load(int8_file, runtime=runtime, workers=1)  # type: ignore[arg-type]
    tile = image[None, :256, :256]
    difference = np.abs(one.runtime.predict(tile) - other.runtime.predict(tile))
    assert 0 < difference.mean() < 0.02
    ours, theirs = (instances_on(image, m, mpp=0.25) for m in (one, other))
    assert len(ours) > 50
    assert panoptic_counts(ours.labels, theirs.labels).pq > 0.9


def test_tiles_are_of_tissue_and_the_same_for_the_same_seed(image: np.ndarray, tmp_path: Path) -> None:
    glass = np.full((2048, 2048, 3), 245, np.uint8)
    glass[512:1024, 1024:1664] = image
    write_pyramid(tmp_path / "a.tiff", glass, 0.25)
    shutil.copy(tmp_path / "a.tiff", tmp_path / "b.tiff")
    found = calibration_tiles([tmp_path], model_mpp=0.25, count=7, tile_px=128)
    assert (found.slides, len(found.tiles)) == (2, 7)
    assert {t.shape for t in found.tiles} == {(128, 128, 3)}
    coloured = [(tile < 235).any(axis=-1).mean() for tile in found.tiles]
    assert min(coloured) > 0  # of the slide it is a twelfth
    assert np.mean(coloured) > 0.4
    assert calibration_tiles([tmp_path], model_mpp=0.25, count=7, tile_px=128).sha256 == found.sha256
    assert calibration_tiles([tmp_path], model_mpp=0.25, count=7, tile_px=128, seed=1).sha256 != found.sha256


def test_no_tissue_and_no_resolution_are_named(image: np.ndarray, tmp_path: Path) -> None:
    write_pyramid(tmp_path / "glass.tiff", np.full((2048, 2048, 3), 245, np.uint8), 0.25)
    with pytest.raises(InputError, match="No tissue"):
        calibration_tiles([tmp_path / "glass.tiff"], model_mpp=0.25, count=2)
    (tmp_path / "plain").mkdir()
    (tmp_path / "consep").mkdir()
    for name in ("plain", "consep"):
        cv2.imwrite(str(tmp_path / name / "a.png"), image[..., ::-1])
    with pytest.raises(ResolutionError, match="--mpp"):
        calibration_tiles([tmp_path / "plain"], model_mpp=0.25, count=2)
    assert len(calibration_tiles([tmp_path / "plain"], model_mpp=0.25, count=2, mpp=0.25).tiles) == 2
    assert len(calibration_tiles([tmp_path / "consep"], model_mpp=0.25, count=2).tiles) == 2  # known by name
