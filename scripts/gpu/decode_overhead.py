"""Whether decoding keeps up with a network on a GPU: wall time of a slide against the network's alone.

To find out: with a network that is some 50 times as fast as on two cores, reading, decoding and writing no longer hide
behind it; how many workers it takes, and what is left. Writes OUT/decode_overhead.json.

Run: python scripts/gpu/decode_overhead.py SLIDE -o OUT [--steps 3] [--workers 8] [--model hover-unet-consep]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from pipeline_overhead import forward_seconds, pipeline_seconds

from histocyte.inference.load import load


def main() -> int:
    """Do it; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--mpp", type=float)
    parser.add_argument("--model", default="hover-unet-consep")
    parser.add_argument("--steps", type=int, default=3, help="how often both are measured")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    model = load(given.model, runtime="torch", device=given.device, workers=given.workers)
    pipeline_seconds(given.slide, given.mpp, model)  # compiled kernels, file cache
    pairs = []
    for _ in range(given.steps):
        network = forward_seconds(given.slide, given.mpp, model)
        pairs.append((network, pipeline_seconds(given.slide, given.mpp, model)))
    result = {
        "slide": given.slide.name,
        "model": given.model,
        "device": given.device,
        "network_and_whole_seconds": pairs,
        "whole_by_network": statistics.median(whole / network for network, whole in pairs),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "decode_overhead.json").write_text(json.dumps(result, indent=2))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
