"""What a user should know of a result, and what it took."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from histocyte.core.geometry import Box, area_text
from histocyte.core.names import counted
from histocyte.inference.load import Model, spec_of
from histocyte.model.spec import ModelSpec
from histocyte.model.zoo import DEFAULT_MODEL, bundled_models
from histocyte.slides.protocol import SlideReader

__all__ = ["findings", "known_to_model", "nearest_in_resolution", "peak_memory_mb", "seconds_by_stage"]

USUAL_NUCLEUS_UM2 = (12.0, 150.0)
"""A median nucleus outside this speaks for a wrongly stated resolution: a lymphocyte has about 30 µm²."""


_CLEARLY = 1.5
"""Resolutions nearer to each other than by this factor are as good as the same."""

LARGEST_IMAGE_PX = 4096
"""Models learn from images of up to such a side at their resolution; larger ones are slides, and not looked up."""


def known_to_model(reader: SlideReader, model: Model) -> str:
    """Whether the model has learnt from an image, by what it shows: "learnt", "held_out", "left_out", or empty."""
    width, height = reader.size
    if max(width, height) * max(1.0, reader.mpp / model.spec.mpp) > LARGEST_IMAGE_PX:
        return ""
    history = model.spec.history
    if model.classifier is not None:
        history = history.after([(model.classifier.where, model.classifier.spec.history)])
    standing = history.know_image(reader.read(Box(0, 0, width, height), mpp=reader.mpp), reader.mpp)
    return standing.name.lower() if standing else ""


def findings(
    record: Mapping[str, Any], stats: Iterable[Mapping[str, Any]], reader: SlideReader, model: Model
) -> list[str]:
    """What a user should know of this result: why nothing was found, or why it may be wrong."""
    notes, stats = [], list(stats)
    if record.get("known_to_model") == "learnt":
        notes.append(
            "The model has learnt from this image or a part of it: what it finds here says nothing of how good it is."
        )
    upsampled = reader.mpp / model.spec.mpp
    if upsampled > 1.1:
        other = nearest_in_resolution(reader.mpp, model.spec)
        notes.append(
            f"The slide has {reader.mpp:g} µm/px and was enlarged {upsampled:.1f} times for a model of "
            f"{model.spec.mpp:g} µm/px; "
            "expect coarser outlines and missed small nuclei."
            + (f" Quicker: --model {other.name}, which works at {other.mpp:g} µm/px." if other is not None else "")
        )
    if record["cells"] == 0:
        width, height = reader.size
        share = 100 * record["tissue_mm2"] / max(1e-9, width * height * reader.mpp**2 / 1e6)
        foreground = 100 * float(np.mean([s["foreground"] for s in stats])) if stats else 0.0
        notes.append(
            f"No cell was found: {share:.1f} % of the slide was searched ({area_text(record['tissue_mm2'])}, "
            f"{counted(len(stats), 'block')}), "
            f"{foreground:.2f} % of it looked like nuclei, at {reader.mpp:g} µm/px. "
            + (
                "Nothing was taken for tissue; draw a region and pass it with --roi."
                if not stats
                else "Check stain and --mpp."
            )
        )
    elif not USUAL_NUCLEUS_UM2[0] <= record["median_area_um2"] <= USUAL_NUCLEUS_UM2[1]:
        notes.append(
            f"The median nucleus has {record['median_area_um2']:g} µm², which is unusual: "
            f"is {reader.mpp:g} µm/px right? (--mpp)"
        )
    return notes


def nearest_in_resolution(mpp: float, spec: ModelSpec) -> ModelSpec | None:
    """The bundled model of the same classes that works at a slide's resolution, where the one in use does not.

    Args:
        mpp: Resolution of the slide, µm/px.
        spec: Spec of the model in use.

    Returns:
        The nearest in resolution, the default model of several; None where the model in use is as near.
    """

    def away(other: ModelSpec) -> float:
        return abs(math.log(other.mpp / mpp))

    # Of several at one resolution the default is meant for everybody, the others for a reason of their own.
    bundled = sorted(bundled_models().items(), key=lambda item: item[0] != DEFAULT_MODEL)
    others = [spec_of(files) for _, files in bundled]
    nearest = min((o for o in others if o.classes.names == spec.classes.names), key=away, default=None)
    return nearest if nearest is not None and away(spec) - away(nearest) > math.log(_CLEARLY) else None


def seconds_by_stage(stats: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds by stage, summed over blocks and workers."""
    rows = list(stats)
    return {stage: round(sum(float(s[f"{stage}_s"]) for s in rows), 3) for stage in ("read", "forward", "decode")}


def peak_memory_mb() -> float:
    """Most memory that this process has had at any time; NaN where the system does not say."""
    try:
        # What `resource` says begins with the memory of the process that started this one.
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 2**10, 1)
    except (OSError, IndexError, ValueError):  # no Linux
        pass
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
