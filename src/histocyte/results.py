"""What a slide leaves on disk: runs the pipeline and writes OUT/<slide name>/ (design: outputs, crash).

Finished blocks are journalled in a hidden folder beside the results; the final files appear whole, and run.json last
of all, so that a folder with run.json is a finished one.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from histocyte.core.cells import Cells
from histocyte.core.errors import InputError
from histocyte.core.geometry import Box
from histocyte.core.version import __version__
from histocyte.export.cell_writer import CellWriter
from histocyte.export.embeddings import EmbeddingsWriter
from histocyte.export.geoparquet import GeoParquetWriter
from histocyte.export.manifest import write_manifest
from histocyte.export.overview import draw_overview
from histocyte.export.summary import Summary
from histocyte.files.atomic import write_atomically
from histocyte.formats.geojson.cells import GeoJsonWriter
from histocyte.formats.geojson.regions import read_roi
from histocyte.inference.choice import nearest_in_resolution
from histocyte.inference.embed import feature_runtime
from histocyte.inference.load import Model
from histocyte.inference.plan import Plan, Settings, check_resolution
from histocyte.pipeline import Progress, finish_blocks, settled
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import SlideReader
from histocyte.slides.tissue import Region, find_tissue
from histocyte.store.journal import Journal

__all__ = ["FORMATS", "Options", "segment_to_folder"]

FORMATS = ("parquet", "geojson")
JOURNAL = ".journal"

USUAL_NUCLEUS_UM2 = (12.0, 150.0)
"""A median nucleus outside this speaks for a wrongly stated resolution: a lymphocyte has about 30 µm²."""


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen for a slide.

    Attributes:
        mpp: Overrides the resolution that the file states, µm/px.
        roi: GeoJSON of the regions to search; the tissue where None.
        formats: Of the cells, out of `FORMATS`.
        force: Replace a finished result, and do not go on with an unfinished one.
        workers: Blocks under way at a time.
        settings: How the slide is cut.
    """

    mpp: float | None = None
    roi: Path | None = None
    formats: tuple[str, ...] = FORMATS
    force: bool = False
    workers: int | None = None
    settings: Settings = field(default_factory=Settings)


def segment_to_folder(
    slide: str | Path,
    out: str | Path,
    model: Model,
    options: Options | None = None,
    *,
    name: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Segment a slide and write its results to OUT/<name>/.

    A result that is there already and was made with the same parameters is kept; an unfinished one goes on.

    Args:
        slide: File or DICOM folder.
        out: Folder of results.
        model: Loaded model.
        options: What may be chosen.
        name: Of the slide's folder; the slide's own where None.
        progress: Called after each block.

    Returns:
        What run.json holds: slide, mpp, tissue_mm2, cells, classes, seconds by stage, peak_memory_mb, outputs, notes.

    Raises:
        InputError: Nothing can be done with the slide, the region or the parameters, or another result is in the way.
        DiskError: The results cannot be written.
    """
    options = options or Options()
    began = time.monotonic()
    with open_slide(slide, mpp=options.mpp) as reader:
        check_resolution(reader.mpp, model.spec.mpp)
        region, notes = _where(reader, options.roi)
        plan = Plan.of(reader, model, region, options.settings)
        folder = Path(out) / (name or reader.name)
        before = None if options.force else _finished(folder, _key(plan), options.formats)
        if before is not None:
            return before
        with _journal(folder, plan, force=options.force) as journal:
            resumed = len(journal.done())
            finish_blocks(plan, journal, workers=options.workers, progress=progress)
            named = [] if options.roi is None else _drawn(region, reader.mpp)
            record = _write(folder, plan, journal, region, named, options.formats)
            stats = [journal.read(i).stats for i in sorted(journal.done())]
            record |= {
                "histocyte": __version__,
                "slide": str(slide),
                "seconds": {**_seconds(stats), "total": round(time.monotonic() - began, 3)},
                "blocks": len(stats),
                "resumed_blocks": resumed,
                "workers": options.workers or model.runtime.parallel,
                "peak_memory_mb": _peak_memory_mb(),
                "runtime": {"name": model.runtime.name, "device": model.runtime.device},
                "signature": _key(plan),
                "notes": notes + _findings(record, stats, reader, model),
            }
            write_manifest(folder / "run.json", record)
            journal.discard()
    return record


def _key(plan: Plan) -> dict[str, Any]:
    """The plan's signature as it reads back from run.json."""
    return dict(json.loads(json.dumps(plan.signature())))


def _journal(folder: Path, plan: Plan, *, force: bool) -> Journal:
    """The journal of finished blocks; with force one that nothing is taken over into."""
    folder.mkdir(parents=True, exist_ok=True)
    return Journal.open(folder / JOURNAL, signature={**_key(plan), "force": time.time()} if force else _key(plan))


def _where(reader: SlideReader, roi: Path | None) -> tuple[Region, list[str]]:
    if roi is not None:
        return read_roi(roi, reader), []
    tissue = find_tissue(reader)
    return tissue.region, [tissue.note] if tissue.note else []


def _finished(folder: Path, key: Mapping[str, object], formats: Iterable[str]) -> dict[str, Any] | None:
    """The record of a finished run with the same parameters; None where nothing is finished.

    Raises:
        InputError: A finished run with other parameters.
    """
    manifest = folder / "run.json"
    if not manifest.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(manifest.read_text())
    except ValueError:
        return None
    other = [k for k, value in key.items() if record.get("signature", {}).get(k) != value]
    if other:
        raise InputError(
            f"'{folder}' holds a finished result made with another {', '.join(other)}. "
            "Pass --force to replace it, or another -o."
        )
    lacking = [f for f in formats if f not in record["outputs"] or not Path(record["outputs"][f]).exists()]
    return None if lacking else record | {"already_done": True}


def _write(
    folder: Path,
    plan: Plan,
    journal: Journal,
    region: Region,
    named: list[tuple[str, BaseGeometry, float]],
    formats: tuple[str, ...],
) -> dict[str, Any]:
    """Stream the settled cells into every output, and draw what they look like."""
    reader, model = plan.slide, plan.model
    area_mm2 = region.area_mm2(reader.mpp)
    outputs = {name: folder / file for name, file in _FILES.items() if name not in FORMATS or name in formats}
    if plan.embeddings:
        outputs["embeddings"] = folder / "embeddings.npy"
    summary, glance = Summary(model.taxonomy, [("all", None, area_mm2), *named]), _Glance()
    with ExitStack() as stack:
        takers: list[Callable[[Cells], None]] = [summary.add, glance.add]
        takers += [stack.enter_context(writer).write for writer in _writers(outputs, plan)]
        if plan.embeddings:
            width = feature_runtime(model.runtime).features.width
            vectors = stack.enter_context(EmbeddingsWriter(outputs["embeddings"], width))
        for part in settled(plan, journal):
            if plan.embeddings:
                vectors.write(part)
                part = replace(part, embeddings=None)
            for take in takers:
                take(part)
    summary.write(outputs["summary"])
    with write_atomically(outputs["tissue"]) as file:
        file.write(json.dumps(region.to_geojson()).encode())
    counts = summary.counts()
    with write_atomically(outputs["overview"]) as file:
        # A second time through the cells, now that it is known how many there are and where to look.
        file.write(_overview(reader, model, region, settled(plan, journal), counts, glance.densest))
    return {
        "name": reader.name,
        "mpp": reader.mpp,
        "size_px": list(reader.size),
        "model": model.spec.name,
        "classifier": None if model.classifier is None else model.classifier.where,
        "tissue_mm2": round(area_mm2, 6),
        "cells": glance.cells,
        "classes": counts,
        "median_area_um2": glance.median_area_um2(),
        "outputs": {**{name: str(path) for name, path in outputs.items()}, "run": str(folder / "run.json")},
    }


def _writers(outputs: Mapping[str, Path], plan: Plan) -> Iterator[CellWriter]:
    """Of the formats of cells that were asked for."""
    reader, model = plan.slide, plan.model
    if "parquet" in outputs:
        facts = {"slide": reader.name, "model": model.spec.name, "model_sha256": model.sha256}
        if model.classifier is not None:
            facts["classifier_sha256"] = model.classifier.sha256
        yield GeoParquetWriter(outputs["parquet"], model.taxonomy, reader.mpp, facts)
    if "geojson" in outputs:
        yield GeoJsonWriter(outputs["geojson"], model.taxonomy, seed=reader.fingerprint)


class _Glance:
    """What is noted of the cells as they stream by."""

    def __init__(self) -> None:
        self.cells = 0
        self.densest: Cells | None = None
        self._medians: list[tuple[int, float]] = []

    def add(self, part: Cells) -> None:
        if len(part):
            self.cells += len(part)
            self._medians.append((len(part), float(np.median(part.area_um2))))
        if len(part) > (0 if self.densest is None else len(self.densest)):
            self.densest = part

    def median_area_um2(self) -> float | None:
        """Mean of the parts' medians by their numbers of cells: near the median, with nothing held."""
        return round(sum(n * m for n, m in self._medians) / self.cells, 2) if self.cells else None


def _drawn(region: Region, mpp: float) -> list[tuple[str, BaseGeometry, float]]:
    """Name, outline and mm² of each region that the user drew; names made distinct."""
    rows: list[tuple[str, BaseGeometry, float]] = []
    taken = {"all"}
    for name, part in region.split():
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name} ({number})"
        taken.add(unique)
        rows.append((unique, part.geometry, part.area_mm2(mpp)))
    return rows


def _overview(
    reader: SlideReader,
    model: Model,
    region: Region,
    cells: Iterator[Cells],
    counts: Mapping[str, int],
    densest: Cells | None,
) -> bytes:
    thumbnail, downsample = reader.thumbnail(2000)
    detail = None
    if densest is not None and downsample * reader.mpp > _DETAIL_BELOW_MPP:
        side = round(_DETAIL_UM / reader.mpp)
        x, y = _crowd(densest.xy, side)
        box = Box(round(x - side / 2), round(y - side / 2), side, side)
        xmin, ymin, xmax, ymax = densest.bounds().T
        inside = (xmax > box.x) & (xmin < box.right) & (ymax > box.y) & (ymin < box.bottom)
        detail = (reader.read(box, mpp=reader.mpp), box, densest.take(inside))
    title = f"{reader.name} · {model.spec.name}"
    picture = draw_overview(
        thumbnail, downsample, region.geometry, cells, model.taxonomy, reader.mpp, title, counts, detail=detail
    )
    return _png(picture)


def _crowd(xy: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(2,) middle of the fullest of squares half as wide as `side`."""
    square = np.floor(2 * xy / side)
    _, which, sizes = np.unique(square, axis=0, return_inverse=True, return_counts=True)
    return xy[which.ravel() == sizes.argmax()].mean(axis=0)


_DETAIL_UM = 160.0
"""Side of the field shown large in the overview."""
_DETAIL_BELOW_MPP = 0.7
"""Where a pixel of the overview is wider than this, a nucleus is a few pixels and a field is shown large beside it."""

_FILES = {
    "parquet": "cells.parquet",
    "geojson": "cells.geojson.gz",
    "summary": "summary.csv",
    "overview": "overview.png",
    "tissue": "tissue.geojson",
}


def _findings(
    record: Mapping[str, Any], stats: Iterable[Mapping[str, Any]], reader: SlideReader, model: Model
) -> list[str]:
    """What a user should know of this result: why nothing was found, or why it may be wrong."""
    notes, stats = [], list(stats)
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
            f"No cell was found: {share:.1f} % of the slide was searched ({record['tissue_mm2']:.3f} mm², "
            f"{len(stats)} blocks), "
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


def _seconds(stats: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds by stage, summed over blocks and workers."""
    rows = list(stats)
    return {stage: round(sum(float(s[f"{stage}_s"]) for s in rows), 3) for stage in ("read", "forward", "decode")}


def _peak_memory_mb() -> float:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _png(picture: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes())
