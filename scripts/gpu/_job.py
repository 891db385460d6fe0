"""What the jobs for a GPU share: a command of `histocyte` that ends in time, and goes on when it is called again."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETS = ("consep", "monuseg", "tnbc", "nuinsseg")
"""Outlines; CoNSeP's have classes."""
ALL_SETS = (*SETS, "monuseg7", "monusac", "dsb2018_he", "brca_m2c_points", "crchisto_points")
"""And more outlines, classes and dots, 76 MB in all."""


def parser(about: str | None, *, steps: int) -> argparse.ArgumentParser:
    """With the options that every job has."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", type=Path, help="folder of the labelled sets")
    made.add_argument("-o", "--out", type=Path, required=True, help="folder of the results")
    made.add_argument("--steps", type=int, default=steps)
    made.add_argument("--batch", type=int, default=32)
    made.add_argument("--device", default="cuda")
    made.add_argument("--minutes", type=float, default=9.0, help="after which it ends with its state written")
    return made


def histocyte(arguments: list[str], *, minutes: float) -> int:
    """Run a command of histocyte; told to end after so many minutes, when it writes its state.

    Returns:
        Its exit code: 143 where it was told to end and is to be called again.
    """
    start = "from histocyte.apps.cli.main import run; run()"
    process = subprocess.Popen([sys.executable, "-c", start, *arguments])
    try:
        return process.wait(timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        return process.wait()


def small_results(run: Path, out: Path, *, extra: tuple[str, ...] = ()) -> None:
    """Copy what is small of a run: the model, its curves and tables, not its state."""
    out.mkdir(parents=True, exist_ok=True)
    names = ("log.csv", "validation.csv", "curves.html", "curves.png", "recipe.json", "environment.json", *extra)
    for name in names:
        if (run / name).exists():
            (out / name).write_bytes((run / name).read_bytes())
