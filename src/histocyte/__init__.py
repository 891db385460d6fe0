"""Find, outline and classify every cell on a histology slide.

>>> import histocyte as hc
>>> cells = hc.segment("slide.svs")                 # doctest: +SKIP
>>> cells.to_geojson("cells.geojson.gz")            # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from histocyte.core.version import __version__

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reports its use to its makers; nothing of ours does

if TYPE_CHECKING:
    from histocyte.core.cells import Cells
    from histocyte.core.errors import HistocyteError
    from histocyte.formats.geoparquet import read_cells
    from histocyte.formats.manifest import RunRecord
    from histocyte.inference.load import load
    from histocyte.pipeline import segment
    from histocyte.results import Options, segment_to_folder
    from histocyte.runs.distil.distil import distil
    from histocyte.runs.scoring.evaluate import evaluate
    from histocyte.runs.scoring.score import score
    from histocyte.runs.train.train import train
    from histocyte.slides.open import open_slide

__all__ = [
    "Cells",
    "HistocyteError",
    "Options",
    "RunRecord",
    "__version__",
    "distil",
    "evaluate",
    "load",
    "open_slide",
    "read_cells",
    "score",
    "segment",
    "segment_to_folder",
    "train",
]

_HOME = {
    "Cells": "histocyte.core.cells",
    "HistocyteError": "histocyte.core.errors",
    "Options": "histocyte.results",
    "RunRecord": "histocyte.formats.manifest",
    "distil": "histocyte.runs.distil.distil",
    "evaluate": "histocyte.runs.scoring.evaluate",
    "load": "histocyte.inference.load",
    "open_slide": "histocyte.slides.open",
    "read_cells": "histocyte.formats.geoparquet",
    "score": "histocyte.runs.scoring.score",
    "segment": "histocyte.pipeline",
    "segment_to_folder": "histocyte.results",
    "train": "histocyte.runs.train.train",
}


def __dir__() -> list[str]:
    """The public names alone, also those that nobody has used yet."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import histocyte` alone stays fast."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'histocyte' has no attribute '{name}'")
