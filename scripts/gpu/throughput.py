"""Crops per second of training on a GPU, and the share of the time that it waits for crops.

To find out: whether preparing crops keeps up (waiting under a tenth of the time), with how many threads, and from which
batch on the GPU is busy. Writes OUT/throughput.jsonl, a line a setting.

Run: python scripts/gpu/throughput.py DATA -o OUT [--recipe hover_unet] [--batches 16 64] [--crop-threads 1 4 8]
"""

from __future__ import annotations

import subprocess
import sys
from itertools import product

from _job import ROOT, parser


def main() -> int:
    """Do it; gives the exit code."""
    given = parser(__doc__, steps=60)
    given.add_argument("--recipe", default="hover_unet")
    given.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    given.add_argument("--crop-threads", type=int, nargs="+", default=[1, 4, 8])
    arguments = given.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "throughput.jsonl").open("a") as file:
        for batch, threads in product(arguments.batches, arguments.crop_threads):
            ended = subprocess.run(
                [
                    *(sys.executable, str(ROOT / "benchmarks" / "training_throughput.py")),
                    *(str(arguments.data / "consep"), "--recipe", arguments.recipe, "--json"),
                    *("--batch", str(batch), "--steps", str(arguments.steps), "--device", arguments.device),
                    *("--crop-threads", str(threads)),
                ],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                timeout=60 * arguments.minutes,
            )
            print(ended.stdout, end="")
            file.write(ended.stdout)
            file.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
