"""Export the bundled models' ONNX files again from their safetensors files, after a change of how models are exported.

    python scripts/export_bundled.py [NAME …]

Says how far the new maps are from PyTorch's and from the old file's. Scores on the cards hold as long as these differ
by rounding; `histocyte evaluate` says whether they do.
"""

from __future__ import annotations

import argparse

import numpy as np

from histocyte.inference.load import load
from histocyte.model.checkpoint import load_model
from histocyte.model.onnx.export import export_onnx
from histocyte.model.zoo import bundled_models


def main() -> None:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(bundled_models()), metavar="NAME")
    tile = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    for name in parser.parse_args().names:
        files = bundled_models()[name]
        assert files.onnx is not None
        assert files.safetensors is not None
        before = load(name, runtime="openvino").runtime.predict(tile)
        export_onnx(*load_model(files.safetensors), files.onnx)
        after = load(name, runtime="openvino").runtime.predict(tile)
        plain = load(str(files.safetensors), runtime="torch", device="cpu").runtime.predict(tile)
        apart = [float(np.abs(after - other).max()) for other in (plain, before)]
        size = files.onnx.stat().st_size / 1e6
        print(f"{name:24} {size:5.2f} MB, from PyTorch {apart[0]:.1e}, from the file before {apart[1]:.1e}")


if __name__ == "__main__":
    main()
