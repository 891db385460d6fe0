"""Streams the settled cells of a slide into every file of its result, and draws what they look like."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from histocyte.core.cells import Cells
from histocyte.core.geometry import Box
from histocyte.core.listener import SILENT, Listener, Stop, Stopped, never
from histocyte.core.names import distinct_names
from histocyte.files.atomic import remove, write_atomically
from histocyte.files.names import shown
from histocyte.formats.cell_writer import CellWriter
from histocyte.formats.embeddings import EmbeddingsWriter
from histocyte.formats.geojson.cells import GeoJsonWriter
from histocyte.formats.geoparquet import GeoParquetWriter
from histocyte.formats.manifest import RUN_FILE
from histocyte.inference.load import Model
from histocyte.inference.plan import Plan
from histocyte.inference.runtime import features_of
from histocyte.pipeline import settled
from histocyte.results.overview.picture import draw_overview
from histocyte.results.summary import Summary
from histocyte.slides.protocol import SlideReader
from histocyte.slides.tissue import Region
from histocyte.store.journal import Journal

__all__ = ["FILES", "FORMATS", "drawn_regions", "write_outputs"]

FORMATS = ("parquet", "geojson")
_DETAIL_UM = 160.0
"""Side of the field shown large in the overview."""
_DETAIL_BELOW_MPP = 0.7
"""Where a pixel of the overview is wider than this, a nucleus is a few pixels and a field is shown large beside it."""

FILES = {
    "parquet": "cells.parquet",
    "geojson": "cells.geojson.gz",
    "summary": "summary.csv",
    "overview": "overview.png",
    "tissue": "tissue.geojson",
    "embeddings": "embeddings.npy",
}
"""What a result may hold, and the files that hold it."""


def write_outputs(
    folder: Path,
    plan: Plan,
    journal: Journal,
    *,
    region: Region,
    named: list[tuple[str, BaseGeometry, float]],
    formats: tuple[str, ...],
    listener: Listener = SILENT,
    stop: Stop = never,
) -> dict[str, Any]:
    """Stream the settled cells into every output, and draw what they look like.

    Before the first file is replaced, the run.json of an earlier result goes; a new one is for the caller to write.

    Raises:
        Stopped: Told to; no file has then changed.
        DiskError: A file cannot be written.
    """
    reader, model = plan.slide, plan.model
    area_mm2 = region.area_mm2(reader.mpp)
    left_out = {*FORMATS, "embeddings"} - {*formats, *(("embeddings",) if plan.embeddings else ())}
    outputs = {name: folder / file for name, file in FILES.items() if name not in left_out}
    summary, glance = Summary(model.taxonomy, [("all", None, area_mm2), *named]), _Glance()
    with ExitStack() as stack:
        takers: list[Callable[[Cells], None]] = [summary.add, glance.add]
        takers += [stack.enter_context(writer).write for writer in _writers(outputs, plan)]
        if plan.embeddings:
            width = features_of(model.runtime).width
            vectors = stack.enter_context(EmbeddingsWriter(outputs["embeddings"], width))
        task = stack.enter_context(listener.task(f"{folder.name}, writing", None, unit="cells"))
        for part in settled(plan, journal):
            if stop():
                raise Stopped(f"All blocks of '{folder.name}' are done; its files are still to be written")
            task.advance(len(part))
            if plan.embeddings:
                vectors.write(part)
                part = replace(part, embeddings=None)
            for take in takers:
                take(part)
        remove(folder / RUN_FILE)
    summary.write(outputs["summary"])
    with write_atomically(outputs["tissue"]) as file:
        file.write(json.dumps(region.to_geojson(reader.bounds.corner)).encode())
    counts = summary.counts()
    with write_atomically(outputs["overview"]) as file:
        # A second time through the cells, now that it is known how many there are and where to look.
        file.write(_overview(folder.name, reader, model, region, settled(plan, journal), counts, glance.densest))
    return {
        "name": folder.name,
        "mpp": reader.mpp,
        "size_px": list(reader.size),
        "bounds_px": [*reader.bounds.corner, reader.bounds.width, reader.bounds.height],
        "model": model.spec.name,
        "classifier": None if model.classifier is None else shown(model.classifier.where),
        "tissue_mm2": round(area_mm2, 6),
        "cells": glance.cells,
        "classes": counts,
        "median_area_um2": glance.median_area_um2(),
        "outputs": {what: path.name for what, path in outputs.items()},
    }


def _writers(outputs: Mapping[str, Path], plan: Plan) -> Iterator[CellWriter]:
    """Writers of the formats of cells that were asked for."""
    reader, model = plan.slide, plan.model
    if "parquet" in outputs:
        facts = {"slide": outputs["parquet"].parent.name, "model": model.spec.name, "model_sha256": model.sha256}
        if model.classifier is not None:
            facts["classifier_sha256"] = model.classifier.sha256
        yield GeoParquetWriter(outputs["parquet"], model.taxonomy, reader.mpp, facts, reader.bounds.corner)
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


def drawn_regions(region: Region, mpp: float) -> list[tuple[str, BaseGeometry, float]]:
    """Name, outline and mm² of each region that the user drew; names made distinct."""
    names = distinct_names(region.names, taken=("all",))
    return [(name, part.geometry, part.area_mm2(mpp)) for name, (_, part) in zip(names, region.split(), strict=True)]


def _overview(
    name: str,
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
    picture = draw_overview(
        thumbnail,
        downsample,
        region.geometry,
        cells,
        model.taxonomy,
        reader.mpp,
        name,
        counts,
        model=model.title,
        detail=detail,
    )
    return _png(picture)


def _crowd(xy: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(2,) middle of the fullest of squares half as wide as `side`."""
    square = np.floor(2 * xy / side)
    _, which, sizes = np.unique(square, axis=0, return_inverse=True, return_counts=True)
    return xy[which.ravel() == sizes.argmax()].mean(axis=0)


def _png(picture: NDArray[np.uint8]) -> bytes:
    # Runs of equal bytes alone: a quarter of the time of a search for repeats, and no larger for tissue.
    how = [cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return bytes(cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]), how)[1].tobytes())
