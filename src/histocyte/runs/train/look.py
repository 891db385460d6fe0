"""A look at the data of a training before its first step: a record, and a sheet of crops with their outlines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.data_check import DataCheck, check_data
from histocyte.datasets.label_fit import LabelFit
from histocyte.datasets.sample import Sample
from histocyte.files.atomic import write_atomically
from histocyte.runs.train.sheet import Row, draw_sheet
from histocyte.training.crops import Crop, CropSampler
from histocyte.training.journal import write_json

__all__ = ["CHECK_FILE", "SHEET_FILE", "look_at_data"]

CHECK_FILE = "data_check.json"
SHEET_FILE = "data_check.png"

_CROPS = 4
"""Number of crops of a set on the sheet."""
_PLACES = 4


def look_at_data(
    parts: Mapping[str, Sequence[Sample]], sampler: CropSampler, taxonomy: Taxonomy, folder: Path
) -> DataCheck:
    """See what a training would learn, and write data_check.json and data_check.png.

    Args:
        parts: Images by part, as `datasets.data_check.check_data` takes them.
        sampler: That draws the training's crops.
        taxonomy: Classes of the model.
        folder: Folder of the run.

    Raises:
        DiskError: A file cannot be written.
    """
    found = check_data(parts, taxonomy.names, crop_px=sampler.crop_px, mpp=sampler.mpp)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CHECK_FILE, found.to_json())
    _, png = cv2.imencode(".png", _sheet(sampler, taxonomy, found.fits)[..., ::-1])
    with write_atomically(folder / SHEET_FILE) as file:
        file.write(png.tobytes())
    return found


def _sheet(sampler: CropSampler, taxonomy: Taxonomy, fits: Mapping[str, LabelFit]) -> NDArray[np.uint8]:
    rows = []
    for source in dict.fromkeys(s.source for s in sampler.samples):
        numbers = [i for i, s in enumerate(sampler.samples) if s.source == source]
        chosen = [numbers[i] for i in np.unique(np.linspace(0, len(numbers) - 1, _CROPS).astype(int))]
        crops = [_crop(sampler, number) for number in chosen]
        rows.append(Row(source, _note([sampler.samples[i] for i in numbers], fits[source], sampler), crops))
    return draw_sheet(rows, sampler.samples, taxonomy)


def _crop(sampler: CropSampler, number: int) -> Crop:
    """The crop with the most labels, of several places of an image."""
    crops = [sampler.plain_crop(number, np.random.default_rng(place)) for place in range(_PLACES)]
    return max(crops, key=lambda crop: int((crop.instances > 0).sum()))


def _note(samples: Sequence[Sample], fit: LabelFit, sampler: CropSampler) -> str:
    """Resolution of a set, size of its nuclei, and how large its crops are."""
    resolutions = sorted({s.mpp for s in samples})
    low, high = f"{resolutions[0]:.3g}", f"{resolutions[-1]:.3g}"
    stated = f"{low} µm/px" if low == high else f"{low} to {high} µm/px"
    nuclei = "" if math.isnan(fit.diameter_um) else f", nuclei {fit.diameter_um:.1f} µm wide (median)"
    return f"{stated}{nuclei}; crops of {sampler.crop_px} px at {sampler.mpp:g} µm/px"
