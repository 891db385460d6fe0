"""Model files that are damaged where only the network itself shows it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import histocyte as hc
from histocyte.core.errors import ModelError
from histocyte.inference.load import RuntimeName, load
from histocyte.model.checkpoint import SPEC_KEY, read_spec
from histocyte.model.onnx.metadata import FEATURES_KEY, check_numbers
from histocyte.model.zoo import find_model
from histocyte.testing.mutations import safetensors_header, with_onnx_metadata, with_safetensors_header

FILES = find_model("hover-small-consep")
assert FILES.onnx is not None
assert FILES.safetensors is not None
ONNX, SAFETENSORS = FILES.onnx.read_bytes(), FILES.safetensors.read_bytes()
SPEC: dict[str, Any] = json.loads(read_spec(FILES.safetensors).model_dump_json())
RUNTIMES: tuple[RuntimeName, ...] = ("openvino", "onnxruntime")


def onnx_with(folder: Path, **changes: object) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(with_onnx_metadata(ONNX, {SPEC_KEY: json.dumps({**SPEC, **changes})}))
    return path


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_of_other_channels_than_its_spec_is_refused(tmp_path: Path, runtime: RuntimeName) -> None:
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
    classes = [*SPEC["taxonomy"]["classes"], {"name": "more", "colour": [1, 2, 3]}]
    more = {
        "taxonomy": {**SPEC["taxonomy"], "classes": classes},
        "representation": {"name": "hover", "options": {"classes": 5}},
    }
    with pytest.raises(ModelError, match="its network gives 8 channels, and its spec asks for 9"):
        load(onnx_with(tmp_path, **more), runtime=runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_that_answers_in_another_size_is_refused(tmp_path: Path, runtime: RuntimeName) -> None:
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
    model = load(onnx_with(tmp_path, multiple=4), runtime=runtime, workers=1)  # in truth 8
    with pytest.raises(ModelError, match=r"gives \(.*\) for images of \(1, 100, 100, 3\)|cannot run"):
        model.runtime.predict(np.zeros((1, 100, 100, 3), np.uint8))


def test_sides_that_the_network_does_not_take_are_refused_with_torch_too(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    header = safetensors_header(SAFETENSORS)
    header["__metadata__"][SPEC_KEY] = json.dumps({**SPEC, "multiple": 4})
    (tmp_path / "m.safetensors").write_bytes(with_safetensors_header(SAFETENSORS, header))
    with pytest.raises(ModelError, match="takes sides in multiples of 8, and its spec says 4"):
        load(tmp_path / "m.safetensors", runtime="torch")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_that_no_program_knows_is_an_error_of_the_model(tmp_path: Path, runtime: RuntimeName) -> None:
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
    (tmp_path / "m.onnx").write_bytes(ONNX.replace(b"Conv", b"Gonv"))
    with pytest.raises(ModelError, match=r"cannot run '.*m\.onnx' .*copy it again") as caught:
        load(tmp_path / "m.onnx", runtime=runtime)
    assert "\n" not in str(caught.value)


def damaged(place: Callable[[bytes], int], value: bytes) -> bytes:
    start = place(ONNX)
    return ONNX[:start] + value + ONNX[start + len(value) :]


def in_a_process_of_its_own(script: str, *arguments: object) -> None:
    """A crash is told by the exit code, and what other tests have loaded does not matter."""
    head = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\nfrom histocyte.core.errors import ModelError\n"
        "from histocyte.inference.openvino_runtime import OpenVinoRuntime\n"
        "image = np.zeros((1, 64, 64, 3), np.uint8)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", head + script, *map(str, arguments)], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout.split()) == (0, ["whole"]), done.stderr


def test_a_damaged_network_does_not_crash_the_next_one(tmp_path: Path) -> None:
    """One whose upsampling has lost its stride answers with nothing; in the same core the next one ended in a crash."""
    path = tmp_path / "m.onnx"
    path.write_bytes(damaged(lambda content: content.index(b"strides@\x02", content.index(b"ConvTranspose")), b"S"))
    in_a_process_of_its_own(
        "try:\n    OpenVinoRuntime(Path(sys.argv[1]), threads=1).predict(image)\n"
        "except ModelError as error:\n    assert 'gives (0, 8, 0, 0)' in str(error), error\n"
        "assert OpenVinoRuntime(Path(sys.argv[2]), threads=1).predict(image).shape == (1, 8, 64, 64)\n"
        "print('whole')",
        path,
        FILES.onnx,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no such signals")
def test_a_signal_after_two_networks_have_gone_does_no_harm() -> None:
    """Each gives the thread a stack for signals; the first to go freed what the second put back."""
    in_a_process_of_its_own(
        "import signal\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('whole'))\n"
        "first, second = (OpenVinoRuntime(Path(sys.argv[1]), threads=1) for _ in range(2))\n"
        "del first\ndel second\n"
        "signal.raise_signal(signal.SIGUSR1)",
        FILES.onnx,
    )


@pytest.mark.parametrize("value", [b"\x00\x7c" * 3, b"\xff\x7f" * 3, b"\x00\xfc" * 3])
def test_a_weight_that_is_no_number_is_found_without_onnx(tmp_path: Path, value: bytes) -> None:
    onnx = pytest.importorskip("onnx")
    whole = onnx.load_from_string(ONNX)
    half = next(i for i in whole.graph.initializer if i.data_type == onnx.TensorProto.FLOAT16)
    (tmp_path / "m.onnx").write_bytes(damaged(lambda content: content.index(half.raw_data) + 8, value))
    with pytest.raises(ModelError, match=f"no numbers .*in {half.name}: "):
        load(tmp_path / "m.onnx", runtime="openvino")
    assert FILES.onnx is not None
    check_numbers(FILES.onnx)


def test_features_that_are_described_wrongly_are_refused(tmp_path: Path) -> None:
    for text in ('{"name": "x", "width": 0}', '{"name": 3, "width": 8}', "[" * 50_000, '{"width": "wide"}'):
        (tmp_path / "m.onnx").write_bytes(with_onnx_metadata(ONNX, {FEATURES_KEY: text}))
        with pytest.raises(ModelError, match="describes its features"):
            load(tmp_path / "m.onnx", runtime="openvino")


def test_a_whole_copy_is_used_as_it_is(tmp_path: Path) -> None:
    image = np.full((64, 64, 3), 255, np.uint8)
    assert len(hc.segment(image, model=load(onnx_with(tmp_path), workers=1, device="cpu"), mpp=0.25)) == 0
