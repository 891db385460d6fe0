"""The exported U-Net with fewer operations against the plain one: time and memory of a tile, and how far apart.

    python benchmarks/merged_unet.py [MODEL.safetensors or a bundled name] [--image IMAGE] [--repeats 9]

Both are exported here from the same weights and run on one thread, in turn; processor time of one tile of the model's
size, medians. Memory is what a process of its own grows by from the compiled network to its second tile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.inference.load import load
from histocyte.inference.runtime import Precision
from histocyte.model.checkpoint import load_model
from histocyte.model.onnx.export import onnx_graph
from histocyte.model.onnx.file import write_onnx
from histocyte.model.zoo import DEFAULT_MODEL, find_model

MEMORY = """
import sys, numpy as np
from histocyte.inference.load import load
def held():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS")) / 1024
runtime = load(sys.argv[1], runtime=sys.argv[2], precision=sys.argv[3] or None, workers=1).runtime
tile = np.load(sys.argv[4])
before = held()
for _ in range(2):
    runtime.predict(tile)
print(held() - before)
"""
WAYS: tuple[tuple[str, Precision | None], ...] = (("openvino", "f32"), ("openvino", "bf16"), ("onnxruntime", None))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL)
    parser.add_argument("--image", type=Path, help="a tile of it is predicted; without it, noise")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    source = find_model(arguments.model).safetensors
    if source is None:
        parser.error(f"'{arguments.model}' has no .safetensors file")
    spec, network = load_model(source)
    with tempfile.TemporaryDirectory() as folder:
        tile = Path(folder) / "tile.npy"
        np.save(tile, tile_of(arguments.image, spec.tile_px))
        files = {"plain": Path(folder) / "plain.onnx", "merged": Path(folder) / "merged.onnx"}
        for name, path in files.items():
            write_onnx(onnx_graph(spec, network, merged=name == "merged"), spec, path)
        print(f"{spec.name}, {spec.tile_px} px a side, one thread: plain, merged, ratio; largest difference of maps")
        for runtime, precision in WAYS:
            try:
                row = measured(files, tile, runtime, precision, arguments.repeats)
            except Exception as error:  # noqa: BLE001 (a runtime that is not here, or a CPU without bfloat16)
                row = f"not measured ({error})"
            print(f"{runtime} {precision or ''}: {row}")


def tile_of(path: Path | None, side: int) -> NDArray[np.uint8]:
    """(1, side, side, 3) of an image, mirrored where it is smaller."""
    if path is None:
        return np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    image = cv2.imread(str(path))
    assert image is not None
    image = image[:side, :side, ::-1]
    pads = [(0, side - image.shape[0]), (0, side - image.shape[1]), (0, 0)]
    return np.ascontiguousarray(np.pad(image, pads, mode="symmetric")[None])


def measured(files: dict[str, Path], saved: Path, runtime: str, precision: Precision | None, repeats: int) -> str:
    """A row of the table."""
    tile = np.load(saved)
    loaded: dict[str, Any] = {
        name: load(str(path), runtime=runtime, precision=precision, workers=1).runtime for name, path in files.items()
    }
    maps = {name: each.predict(tile) for name, each in loaded.items()}
    seconds: dict[str, list[float]] = {name: [] for name in loaded}
    for _ in range(repeats):
        for name, each in loaded.items():
            began = time.process_time()
            each.predict(tile)
            seconds[name].append(time.process_time() - began)
    plain, merged = (float(np.median(seconds[name])) for name in ("plain", "merged"))
    megabytes = {}
    for name, path in files.items():
        call = [sys.executable, "-c", MEMORY, str(path), runtime, precision or "", str(saved)]
        megabytes[name] = float(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    apart = float(np.abs(maps["plain"] - maps["merged"]).max())
    return (
        f"{plain * 1e3:.0f} and {merged * 1e3:.0f} ms, {plain / merged:.2f}×; {megabytes['plain']:.0f} and "
        f"{megabytes['merged']:.0f} MB; {apart:.1e}"
    )


if __name__ == "__main__":
    main()
