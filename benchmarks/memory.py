"""Peak memory on a slide and on one sixteen times its area.

Claim: memory does not grow with the slide (≤ 10 %), and stays under 2 GB with the default model.

A pyramid is made from a real or a synthetic picture repeated n × n times; each slide is segmented in a process of its
own, and the operating system says what that process used at most. The smaller one is done once before that counts, as
compiling takes memory too; it should have blocks of full size, nine or more, and be no image that a model could have
learnt from (of up to 4096 px), which is looked up as a whole. To keep it short the network may be replaced by one that
gives maps of the same size at no cost (--stand-in); everything else is the real thing.
Run: python benchmarks/memory.py [--picture IMAGE] [--repeats 2] [--stand-in]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from histocyte.testing.pyramid import write_large_pyramid
from histocyte.testing.synthetic import paint_tissue

CHILD = """
import json, sys
from dataclasses import replace
import numpy as np
from histocyte.apps.cli.memory import return_freed_memory
from histocyte.inference.load import load
from histocyte.inference.runtime import Runtime
from histocyte.results import Options, segment_to_folder
slide, out, stand_in = sys.argv[1:4]
return_freed_memory()  # as the command does
model = load()
if stand_in == "1":
    class Threshold(Runtime):
        # Dark is nucleus; the distances and classes are left at zero. Costs next to nothing and finds as many objects.
        name, device, parallel, multiple = "stand-in", "numpy", model.runtime.parallel, model.runtime.multiple
        def predict(self, images):
            maps = np.zeros((len(images), model.channels, *images.shape[1:3]), np.float32)
            maps[:, 0] = images[..., 0] < 120
            maps[:, 4] = 1
            return maps
    model = replace(model, runtime=Threshold())
record = segment_to_folder(slide, out, model, Options(force=True))
print(json.dumps({k: getattr(record, k) for k in ("cells", "peak_memory_mb", "blocks", "seconds")}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--stand-in", action="store_true")
    arguments = parser.parse_args()
    if arguments.picture is None:
        picture = paint_tissue((3072, 3072), seed=1).image
    else:
        picture = np.ascontiguousarray(cv2.imread(str(arguments.picture))[..., ::-1])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for run, repeats in enumerate((arguments.repeats, arguments.repeats, 4 * arguments.repeats)):
            slide = Path(folder) / f"{repeats}.tiff"
            if run != 1:
                write_large_pyramid(slide, picture, (repeats, repeats), 0.25)
            command = [sys.executable, "-c", CHILD, str(slide), folder, str(int(arguments.stand_in))]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            if run:
                rows.append((picture.shape[1] * repeats, json.loads(answer.splitlines()[-1])))
    print(f"{'side, px':>10} {'blocks':>7} {'cells':>10} {'seconds':>8} {'peak, MB':>9}")
    for side, record in rows:
        print(
            f"{side:10,} {record['blocks']:7} {record['cells']:10,} {record['seconds']['total']:8.0f} "
            f"{record['peak_memory_mb']:9.0f}"
        )
    growth = rows[1][1]["peak_memory_mb"] / rows[0][1]["peak_memory_mb"] - 1
    print(f"growth from one to sixteen times the area: {100 * growth:+.1f} % (target ≤ 10 %)")


if __name__ == "__main__":
    main()
