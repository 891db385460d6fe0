"""What the attacked inputs are made of: a picture, its labels and its cells."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from histocyte.core.cells import Cells
from histocyte.core.taxonomies import CONSEP
from histocyte.testing.perfect import paint_truth
from histocyte.testing.scenes import packed_ellipses

MODEL = "hover-small-consep"
SIDE = 96
LABELS = packed_ellipses((SIDE, SIDE), 12, seed=0)
IMAGE = paint_truth(LABELS, CONSEP)
RING = [[20.0, 20.0], [30.0, 20.0], [30.0, 30.0], [20.0, 30.0], [20.0, 20.0]]
CORNERS = [(x, y) for x in (5, 35, 65) for y in (5, 45)]


def moved(dx: float, dy: float) -> list[list[float]]:
    return [[x - 20 + dx, y - 20 + dy] for x, y in RING]


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def cells() -> Cells:
    """Twelve squares of the classes of CoNSeP."""
    xy = np.array([(x + 5.0, y + 5.0) for x, y in CORNERS * 2])
    points = np.concatenate([np.array(moved(x, y))[:4] for x, y in CORNERS * 2])
    chances = np.eye(4, dtype=np.float32)[np.arange(12) % 4]
    area, score = np.full(12, 6.25, np.float32), np.full(12, 0.9, np.float32)
    return Cells(xy, points, np.arange(0, 49, 4), area, chances, score, CONSEP, 0.25)


def command(*arguments: object) -> str:
    """Run a command as the command line does; what it prints.

    Raises:
        HistocyteError: It is refused.
    """
    from histocyte.apps.cli.main import app

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        app([str(a) for a in arguments], prog_name="histocyte", standalone_mode=False)
    return said.getvalue()
