"""One model, the same cells from every runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from histocyte.core.errors import InputError, ModelError, UnknownNameError
from histocyte.inference.cpus import available_cpus
from histocyte.inference.load import Model, RuntimeName, load
from histocyte.inference.openvino_runtime import OpenVinoRuntime
from histocyte.metrics.panoptic import panoptic_counts
from histocyte.model.zoo import DEFAULT_MODEL, bundled_models
from histocyte.pipeline import instances_on
from histocyte.testing.synthetic import paint_tissue


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return paint_tissue((640, 512), seed=5).image


@pytest.fixture(scope="module")
def by_openvino() -> Model:
    return load(runtime="openvino", workers=1, precision="f32")


@pytest.mark.parametrize("runtime", [pytest.param("torch", marks=pytest.mark.torch), "onnxruntime"])
def test_runtimes_agree(runtime: RuntimeName, by_openvino: Model, image: np.ndarray) -> None:
    # The stated tolerance: maps within 0.02 (weights are stored as float16 beside the ONNX file's torch original), and
    # cells with a PQ above 0.99 between two runtimes.
    other = load(runtime=runtime, device="cpu" if runtime == "torch" else "auto", workers=1)
    tile = image[None, :256, :256]
    assert isinstance(by_openvino.runtime, OpenVinoRuntime)
    difference = np.abs(other.runtime.predict(tile) - by_openvino.runtime.predict(tile))
    assert difference.max() < 0.02
    assert difference.mean() < 0.001
    ours, theirs = (instances_on(image, m, mpp=0.25) for m in (by_openvino, other))
    assert len(ours) > 50
    assert panoptic_counts(ours.labels, theirs.labels).pq > 0.99


@pytest.mark.parametrize(("tile_px", "margin_px"), [(256, 32), (128, 32), (1024, 64)])
def test_tiles_hardly_change_the_cells(tile_px: int, margin_px: int, by_openvino: Model, image: np.ndarray) -> None:
    # The stated tolerance: a network sees further than a margin of 32 px, so cells near seams may move by a pixel.
    other = by_openvino.with_tiles(tile_px=tile_px, margin_px=margin_px)
    ours, theirs = (instances_on(image, m, mpp=0.25) for m in (by_openvino, other))
    pq = panoptic_counts(ours.labels, theirs.labels).pq
    assert pq > 0.97
    assert (pq == 1) == (tile_px > max(image.shape)), "a tile that holds all of the image is no tile"


def test_in_32_bits_cells_do_not_depend_on_what_the_cpu_can_do(by_openvino: Model, image: np.ndarray) -> None:
    assert isinstance(by_openvino.runtime, OpenVinoRuntime)
    assert by_openvino.runtime.precision == "f32"
    assert by_openvino.runtime.device.endswith(", f32)")


def test_bfloat16_gives_the_same_cells_but_for_single_pixels(by_openvino: Model, image: np.ndarray) -> None:
    # The stated tolerance: maps within 0.15 at single pixels, and cells with a PQ above 0.99.
    quick = load(runtime="openvino", workers=1)
    assert isinstance(quick.runtime, OpenVinoRuntime)
    if quick.runtime.precision == "f32":
        pytest.skip("this CPU has no units for bfloat16")
    tile = image[None, :256, :256]
    difference = np.abs(quick.runtime.predict(tile) - by_openvino.runtime.predict(tile))
    assert 0 < difference.max() < 0.15
    assert difference.mean() < 0.003
    ours, theirs = (instances_on(image, m, mpp=0.25) for m in (by_openvino, quick))
    assert panoptic_counts(ours.labels, theirs.labels).pq > 0.99


def test_bfloat16_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Older:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr("histocyte.inference.openvino_runtime._core", Older)
    with pytest.raises(InputError, match="--precision f32"):
        load(runtime="openvino", precision="bf16")
    with pytest.raises(InputError, match="--runtime openvino"):
        load(runtime="onnxruntime", precision="bf16")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_is_handled_after_models_have_come_and_gone() -> None:
    code = """
import gc, signal
from histocyte.inference.load import load

model = load("hover-small-consep", runtime="openvino", workers=1)
for _ in range(2):  # as in a notebook: the next is there before the last has gone
    model = load("hover-small-consep", runtime="openvino", workers=1)
    gc.collect()
del model
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "handled\n"), ended.stderr


def test_several_threads_get_the_answers_of_one(image: np.ndarray) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = load(runtime="openvino", workers=2)
    tiles = [image[None, y : y + 128, x : x + 128] for y in (0, 128, 256) for x in (0, 128, 256)]
    alone = [model.runtime.predict(t) for t in tiles]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(model.runtime.predict, tiles))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_both_files_of_the_model_hold_the_same_spec() -> None:
    from histocyte.inference.load import spec_of
    from histocyte.model.zoo import ModelFiles

    files = bundled_models()[DEFAULT_MODEL]
    assert spec_of(ModelFiles("a", files.onnx, None)) == spec_of(ModelFiles("a", None, files.safetensors))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=DEFAULT_MODEL):
        load("hover-unet-consp")
    with pytest.raises(InputError, match=r"no model file"):
        load(tmp_path / "none.safetensors")
    pickle = tmp_path / "model.pth"
    pickle.write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="models convert"):
        load(pickle)
    garbage = tmp_path / "model.onnx"
    garbage.write_bytes(b"garbage")
    with pytest.raises(ModelError, match="not an ONNX model"):
        load(garbage)
    with pytest.raises(InputError, match="--runtime torch"):
        load(runtime="openvino", device="cuda")


def test_processors_are_those_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_cpus() >= 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_cpus() == 1
