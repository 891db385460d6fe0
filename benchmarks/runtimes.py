"""How much tissue a core does in a minute, by runtime and precision, and how far the maps are from torch's.

    python benchmarks/runtimes.py ../shared/data                      # the bundled model and the small students
    python benchmarks/runtimes.py ../shared/data --models hover-unet-consep runs/mine/model.safetensors

Claim: OpenVINO in 32 bits is no slower than torch, in bfloat16 and 8-bit integers it is several times as fast.

Every runtime predicts the same tile of a real image with one thread; rounds go through all of them in turn, so that
whatever else the machine does meets all alike. What counts is processor time, the least of the rounds. 8-bit models are
calibrated on the same folder's other images; students that are named by their recipe have random weights, of which
speed does not depend, and their differences say little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from histocyte.inference.onnx_runtime import OnnxRuntime
from histocyte.inference.openvino_runtime import OpenVinoRuntime
from histocyte.inference.torch_runtime import TorchRuntime
from histocyte.model.build import build_segmenter
from histocyte.model.checkpoint import load_model
from histocyte.model.onnx.export import onnx_graph
from histocyte.model.onnx.file import write_onnx
from histocyte.model.onnx.quantise import quantise
from histocyte.model.segmenter import Segmenter
from histocyte.model.spec import ModelSpec
from histocyte.model.zoo import DEFAULT_MODEL, find_model
from histocyte.recipes.registry import RECIPES
from histocyte.runs.quantise.tiles import calibration_tiles

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

STUDENTS = ("lightweight_student", "hover_fpn", "hover_small", "stardist", "cellpose")
"""Recipes whose own encoder is a small one, or that are given one here."""
SMALL_ENCODERS = {"stardist": "mobilenetv2_100", "cellpose": "resnet18"}
TORCH = "torch, f32"


@dataclass(frozen=True)
class Row:
    model: str
    runtime: str
    seconds: float
    mm2: float
    most: float
    mean: float

    @property
    def speed(self) -> float:
        """mm² in a minute of one core."""
        return 60 * self.mm2 / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds consep/")
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL, *STUDENTS], help="models or names of recipes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tile-px", type=int, default=768)
    parser.add_argument("--quick", action="store_true", help="two rounds on small tiles: does it work at all?")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rounds, tile_px = (2, 256) if arguments.quick else (arguments.rounds, arguments.tile_px)
    images = sorted((arguments.data / "consep").glob("*.webp"))
    image = cv2.imread(str(images[0]))[..., ::-1]
    rows: list[Row] = []
    for name in arguments.models:
        spec, network = model(name)
        side = min(tile_px, *image.shape[:2]) // spec.multiple * spec.multiple
        tile = np.ascontiguousarray(image[None, :side, :side])
        tiles = calibration_tiles(images[1:], model_mpp=spec.mpp, count=4 if arguments.quick else 32)
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(name, spec, runtimes(spec, network, Path(folder), tiles.tiles), tile, rounds)
        print(f"{name}: done", flush=True)
    device = OpenVinoRuntime(find_model(DEFAULT_MODEL).any, threads=1, precision="auto").device
    print(f"\n{device}; tiles of {tile_px} px, one thread, least of {rounds} rounds\n")
    print("\n".join(table(rows)))


def model(name: str) -> tuple[ModelSpec, Segmenter]:
    """A model file or a bundled model; a recipe's network with random weights."""
    if name in RECIPES:
        encoder = {"encoder": SMALL_ENCODERS[name]} if name in SMALL_ENCODERS else {}
        spec = RECIPES[name](**encoder)
        torch.manual_seed(0)
        return spec, build_segmenter(spec).eval()
    path = find_model(name).safetensors
    if path is None:
        raise SystemExit(f"'{name}' has no .safetensors file, which torch needs.")
    return load_model(path)


def runtimes(
    spec: ModelSpec, network: Segmenter, folder: Path, tiles: Sequence[NDArray[np.uint8]]
) -> dict[str, Predict]:
    """What there is on this machine, torch in 32 bits first."""
    plain, int8 = folder / "f32.onnx", folder / "int8.onnx"
    write_onnx(quantise(onnx_graph(spec, network, merged=False), tiles)[0], spec, int8)  # as models export --int8
    write_onnx(onnx_graph(spec, network), spec, plain)
    by_torch = TorchRuntime(network, device="cpu", threads=1)

    def torch_bf16(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.autocast("cpu", torch.bfloat16):
            return by_torch.predict(images)

    f32 = OpenVinoRuntime(plain, threads=1, multiple=spec.multiple, precision="f32")
    best = OpenVinoRuntime(plain, threads=1, multiple=spec.multiple, precision="auto")
    found: dict[str, Predict] = {TORCH: by_torch.predict, "torch, bf16": torch_bf16, "OpenVINO, f32": f32.predict}
    if best.precision == "bf16":
        found["OpenVINO, bf16"] = best.predict
    found["OpenVINO, int8"] = OpenVinoRuntime(int8, threads=1, multiple=spec.multiple, precision="f32").predict
    found["ONNX Runtime, f32"] = OnnxRuntime(plain, threads=1, multiple=spec.multiple).predict
    found["ONNX Runtime, int8"] = OnnxRuntime(int8, threads=1, multiple=spec.multiple).predict
    return found


def measured(name: str, spec: ModelSpec, found: dict[str, Predict], tile: NDArray[np.uint8], rounds: int) -> list[Row]:
    """Each runtime on the tile, in turn."""
    maps = {runtime: predict(tile) for runtime, predict in found.items()}  # the first time, memory is made ready
    seconds: dict[str, list[float]] = {runtime: [] for runtime in found}
    for _ in range(rounds):
        for runtime, predict in found.items():
            began = time.process_time()
            predict(tile)
            seconds[runtime].append(time.process_time() - began)
    mm2 = tile.shape[1] * tile.shape[2] * spec.mpp**2 / 1e6
    rows = []
    for runtime in found:
        difference = np.abs(maps[runtime] - maps[TORCH])
        rows.append(Row(name, runtime, min(seconds[runtime]), mm2, float(difference.max()), float(difference.mean())))
    return rows


def table(rows: Sequence[Row]) -> list[str]:
    """Markdown; ratios are to torch in 32 bits in the same run."""
    lines = [
        "| Model | Runtime | mm² a minute and core | times torch f32 | maps differ by at most | on average |",
        "|---|---|---|---|---|---|",
    ]
    base = {row.model: row.speed for row in rows if row.runtime == TORCH}
    for row in rows:
        differs = "– | –" if row.runtime == TORCH else f"{row.most:.2g} | {row.mean:.2g}"
        lines.append(
            f"| {row.model} | {row.runtime} | {row.speed:.2f} | {row.speed / base[row.model]:.2f} | {differs} |"
        )
    return lines


if __name__ == "__main__":
    main()
