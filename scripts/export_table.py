"""Export every recipe to ONNX and write the table of docs/export.md: what exports, and how far runtimes are from torch.

    python scripts/export_table.py ../shared/data                   # every recipe, some minutes
    python scripts/export_table.py ../shared/data --only cisca      # one row again
    python scripts/export_table.py ../shared/data --missing         # the rows that are not measured yet

DATA holds consep/. Networks have small encoders and random weights: what is measured is the export. Differences are of
maps, after activation, on one tile of a real image, between torch and each runtime, all computing in 32 bits: with the
weights as they are, and with those of the file, which are stored in half precision.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from histocyte.inference.onnx_runtime import OnnxRuntime
from histocyte.inference.openvino_runtime import OpenVinoRuntime
from histocyte.inference.torch_runtime import TorchRuntime
from histocyte.model.build import build_segmenter
from histocyte.model.onnx.export import onnx_graph
from histocyte.model.onnx.file import write_onnx
from histocyte.model.segmenter import Segmenter
from histocyte.recipes.registry import RECIPES

PAGE = Path(__file__).parents[1] / "docs" / "export.md"
BEGIN, END = "<!-- table: scripts/export_table.py -->", "<!-- end of table -->"
TILE_PX = 256
NOT_YET = "not measured yet"

SMALL: dict[str, Mapping[str, Any]] = {
    "cellpose": {"encoder": "resnet18"},
    "cellvit": {"encoder": "vit_tiny_patch16_224"},
    "cellvit_cppnet": {"encoder": "vit_tiny_patch16_224"},
    "cellvit_stardist": {"encoder": "vit_tiny_patch16_224"},
    "cisca": {"encoder": "mobilenetv2_100"},
    "frozen_encoder": {"encoder": "vit_tiny_patch16_224"},
    "hover_fpn": {},
    "hover_small": {},
    "hover_unet": {},
    "hovernet": {},
    "lightweight_student": {},
    "lightweight_teacher": {"encoder": "vit_tiny_patch16_224", "patch_px": 16},
    "pathsegdiff": {
        "first_stage": {"name": "tiny"},
        "denoiser": {"width": 32, "multiples": [1, 2, 2], "blocks": 1, "attention": [2, 4]},
        "condition": {},
        "taps": [1, 3, 5],
    },
    "stardist": {"encoder": "mobilenetv2_100"},
    "tissue_dpt": {"encoder": "resnet18", "width": 32},
    "tissue_fcn": {},
    "tissue_fcn8": {"encoder": "resnet18", "hidden": 64},
    "tissue_unet": {},
}
"""Options that make a recipe small enough to be exported in a minute; large encoders of the same kind export alike."""

COLUMNS = (
    *("recipe", "encoder", "decoder", "maps", "weights, millions", "file, MB"),
    *("OpenVINO, 32-bit weights", "ONNX Runtime, 32-bit weights", "OpenVINO, the file", "ONNX Runtime, the file"),
)


@dataclass(frozen=True)
class Exported:
    """What became of one recipe."""

    recipe: str
    encoder: str
    decoder: str
    maps: str
    parameters: int
    megabytes: float
    differences: tuple[float, ...]
    """Of both runtimes with weights in 32 bits, then of both with the file's."""

    def row(self) -> str:
        """A line of Markdown."""
        cells = (
            f"`{self.recipe}`",
            self.encoder,
            self.decoder,
            self.maps,
            f"{self.parameters / 1e6:.1f}",
            f"{self.megabytes:.1f}",
            *(f"{difference:.1e}" for difference in self.differences),
        )
        return f"| {' | '.join(cells)} |"


def export(recipe: str, image: NDArray[np.uint8]) -> Exported:
    """Export a recipe and run the file on an image (H, W, 3)."""
    spec = RECIPES[recipe](**SMALL[recipe])
    torch.manual_seed(0)
    images = image[None]
    network = settled(build_segmenter(spec), images)
    expected = TorchRuntime(network, device="cpu").predict(images)
    with tempfile.TemporaryDirectory() as folder:
        full, path = Path(folder) / "full.onnx", Path(folder) / "model.onnx"
        graph = onnx_graph(spec, network)
        full.write_bytes(graph.SerializeToString())
        write_onnx(graph, spec, path)
        found = [
            runtime(file, threads=1).predict(images)
            for file in (full, path)
            for runtime in (OpenVinoRuntime, OnnxRuntime)
        ]
        megabytes = path.stat().st_size / 1e6
    assert all(maps.shape == expected.shape for maps in found)
    return Exported(
        recipe,
        str(spec.encoder.options.get("name", spec.encoder.name)),
        spec.decoder.name,
        spec.representation.name,
        sum(p.numel() for p in network.parameters()),
        megabytes,
        tuple(float(np.abs(maps - expected).max()) for maps in found),
    )


def settled(network: Segmenter, images: NDArray[np.uint8]) -> Segmenter:
    """The network with averages of its batch normalisations as of these images; without, random maps are constant."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain average
    with torch.inference_mode():
        network.train()(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    return network.eval()


def rows() -> dict[str, str]:
    """The rows that the page has, by recipe; a recipe that has not been exported yet has one that says so."""
    text = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return {m[1]: m[0] for m in re.finditer(r"^\| `(\w+)` .*$", text, re.MULTILINE)}


def write(found: Mapping[str, str]) -> None:
    """Put the rows between the page's marks, in the order of names; recipes without one get one that says so."""
    found = {**{name: f"| `{name}` | {NOT_YET} {'| ' * (len(COLUMNS) - 1)}|" for name in SMALL}, **found}
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *(found[name] for name in sorted(found))]
    middle = "\n".join(lines)
    PAGE.write_text(f"{head}{BEGIN}\n\n{middle}\n\n{END}{tail}", encoding="utf-8")


def read_tile(data: Path) -> NDArray[np.uint8]:
    """The first CoNSeP image's upper left corner."""
    path = sorted((data / "consep").glob("*.webp"))[0]
    return np.ascontiguousarray(cv2.imread(str(path))[:TILE_PX, :TILE_PX, ::-1])


def main() -> None:
    """Export, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(SMALL))
    parser.add_argument("--missing", action="store_true", help="only recipes that the page has no figures of")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    image = read_tile(arguments.data)
    wanted = arguments.only or SMALL
    if arguments.missing:
        wanted = [name for name in wanted if NOT_YET in rows().get(name, NOT_YET)]
    for name in wanted:
        row = export(name, image).row()
        print(row, flush=True)
        write({**rows(), name: row})


if __name__ == "__main__":
    main()
