"""Reading maps, scheme by scheme, against the field's own packages on the same maps.

    python benchmarks/decode.py [--nuclei 500 2500] [--only hover star flow distance]

Runs the benchmark of each scheme (`hover_decode.py`, `decode_star.py`, `decode_flow.py`, `decode_distance.py`), each of
which says what it measures and makes an environment for its peer: cellvit, stardist, cellpose, and the published steps
of CISCA written down with scikit-image.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = {
    "hover": ("hover_decode.py", False),
    "star": ("decode_star.py", True),
    "flow": ("decode_flow.py", True),
    "distance": ("decode_distance.py", True),
}
"""By scheme: the script, and whether it takes --nuclei."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuclei", nargs="*", default=["500", "2500"], help="about how many in a tile of 1024² px")
    parser.add_argument("--only", nargs="*", choices=list(SCRIPTS), default=list(SCRIPTS))
    arguments = parser.parse_args()
    failed = []
    for scheme in arguments.only:
        script, takes_nuclei = SCRIPTS[scheme]
        print(f"\n{scheme}", flush=True)
        options = ["--nuclei", *arguments.nuclei] if takes_nuclei else []
        if subprocess.run([sys.executable, str(HERE / script), *options], check=False).returncode:
            failed.append(scheme)
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
