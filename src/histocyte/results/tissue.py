"""What `histocyte tissue` leaves on disk: regions of tissue as polygons, their areas, a picture and a record."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from histocyte.core.errors import BusyError, InputError
from histocyte.core.geometry import to_viewer
from histocyte.core.listener import SILENT, Listener, Stop, never
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.version import __version__
from histocyte.files.atomic import remove, write_atomically
from histocyte.files.csv_file import write_rows
from histocyte.files.names import shown
from histocyte.formats.geojson.regions import read_roi
from histocyte.inference.load import Model, load
from histocyte.pipeline.tissue_map import Area, TissuePlan, TissueSettings, areas_of, finish_canvas
from histocyte.results.overview.lettering import Page
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import SlideReader
from histocyte.slides.region import Region
from histocyte.slides.tissue import find_tissue
from histocyte.store.canvas import Canvas

__all__ = ["REGION_FILES", "TissueOptions", "tissue_to_folder"]

_CANVAS, _RECORD = ".tissue", "regions.json"
REGION_FILES = {
    "geojson": "regions.geojson",
    "parquet": "regions.parquet",
    "summary": "regions.csv",
    "overview": "regions.png",
}
"""What a result holds, and the files that hold it; regions.json, written last, says of it that it is finished."""

_PICTURE_PX = 1600
_PANEL_PX = 360


@dataclass(frozen=True, slots=True)
class TissueOptions:
    """What may be chosen for a slide.

    Attributes:
        mpp: Overrides the resolution that the file states, µm/px.
        roi: GeoJSON of where to look; the tissue where None.
        force: Replace a finished result that was made otherwise.
        workers: Blocks under way at a time.
        settings: Settings of blocks and outlines.
    """

    mpp: float | None = None
    roi: str | Path | None = None
    force: bool = False
    workers: int | None = None
    settings: TissueSettings = field(default_factory=TissueSettings)


def tissue_to_folder(
    slide: str | Path,
    out: str | Path,
    model: str | Path | Model,
    options: TissueOptions | None = None,
    *,
    name: str | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Tell the tissue of a slide apart and write regions.geojson, .parquet, .csv, .png and .json to OUT/<name>/.

    A result that is there already and was made with the same parameters is kept; an unfinished one goes on.

    Args:
        slide: File or DICOM folder.
        out: Folder of results.
        model: A model of tissue: a file, a bundled one's name, or loaded.
        options: What may be chosen.
        name: Name of the slide's folder; the slide's own where None.
        listener: Is told how far it is; nobody where None.
        stop: Asked between two blocks whether to end there; never where None.

    Returns:
        What regions.json holds: slide, mpp, tissue_mm2, classes (regions, area_mm2 and share of each), notes, …;
        `already_done` where a finished result was kept.

    Raises:
        InputError: Nothing can be done with the slide, the region or the model, or another result is in the way.
        BusyError: Another process is at work on the same result.
        DiskError: The results cannot be written.
        Stopped: Told to; the same call goes on.
    """
    options, listener, stop = options or TissueOptions(), listener or SILENT, stop or never
    loaded = model if isinstance(model, Model) else load(model)
    began = time.monotonic()
    with open_slide(slide, mpp=options.mpp) as reader:
        if options.roi is None:
            tissue = find_tissue(reader)
            region, notes = tissue.region, [tissue.note] if tissue.note else []
        else:
            region, notes = read_roi(Path(options.roi), reader)
        plan = TissuePlan(reader, loaded, region, options.settings)
        folder = Path(out) / (name or reader.name)
        key = dict(json.loads(json.dumps(plan.signature())))
        kept = _finished(folder, key, force=options.force)
        if kept is not None:
            return kept
        try:
            canvas = Canvas(folder / _CANVAS, plan.grid, loaded.channels, key)
        except BusyError as error:
            raise BusyError(folder, error.holder) from error
        with canvas:
            finish_canvas(plan, canvas, workers=options.workers, name=folder.name, listener=listener, stop=stop)
            areas = areas_of(plan, canvas)
            facts = _write(folder, plan, region, areas)
            facts |= {"slide": shown(slide), "histocyte": __version__, "signature": key}
            facts |= {"seconds": round(time.monotonic() - began, 3), "notes": [*reader.notes, *notes]}
            with write_atomically(folder / _RECORD) as file:
                file.write(orjson.dumps(facts, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            canvas.discard()
    return facts


def _finished(folder: Path, key: Mapping[str, Any], *, force: bool) -> dict[str, Any] | None:
    """The record of a finished result of the same parameters; None where there is none, or it is to be replaced.

    Raises:
        InputError: It was made otherwise, or its files were changed since.
    """
    path = folder / _RECORD
    if force or not path.is_file():
        return None
    try:
        record = dict(orjson.loads(path.read_bytes()))
        there, sizes = dict(record["signature"]), dict(record["output_bytes"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if other := [name for name, value in key.items() if there.get(name) != value]:
        raise InputError(
            f"'{folder}' holds finished regions made with another {', '.join(other)}. Pass --force to replace them, or "
            "another -o."
        )
    files = {REGION_FILES[what]: size for what, size in sizes.items() if what in REGION_FILES}
    if changed := [f for f, n in files.items() if (folder / f).is_file() and (folder / f).stat().st_size != n]:
        raise InputError(
            f"'{folder}' holds finished regions of which {', '.join(changed)} was changed since. Pass --force to "
            "replace them, or another -o."
        )
    return {**record, "already_done": True} if all((folder / file).is_file() for file in files) else None


def _write(folder: Path, plan: TissuePlan, region: Region, areas: Sequence[Area]) -> dict[str, Any]:
    """Write all files but the record, which goes first where there is one; gives what they say in short."""
    reader, taxonomy = plan.slide, plan.model.taxonomy
    remove(folder / _RECORD)
    paths = {what: folder / file for what, file in REGION_FILES.items()}
    searched = region.area_mm2(reader.mpp)
    classes = _by_class(areas, taxonomy, reader.mpp, searched)
    with write_atomically(paths["geojson"]) as file:
        file.write(orjson.dumps({"type": "FeatureCollection", "features": _features(areas, taxonomy, reader)}))
    with write_atomically(paths["parquet"]) as file:
        pq.write_table(_table(areas, taxonomy, reader, plan), file)
    rows = [(name, c["regions"], f"{c['area_mm2']:.6f}", f"{c['share']:.4f}") for name, c in classes.items()]
    write_rows(paths["summary"], ("class", "regions", "area_mm2", "share_of_tissue"), rows)
    with write_atomically(paths["overview"]) as file:
        file.write(_picture(reader, taxonomy, areas, classes, folder.name))
    return {
        "name": folder.name,
        "mpp": reader.mpp,
        "size_px": list(reader.size),
        "model": plan.model.spec.name,
        "canvas_mpp": plan.mpp,
        "tissue_mm2": round(searched, 6),
        "classes": classes,
        "outputs": dict(REGION_FILES),
        "output_bytes": {what: path.stat().st_size for what, path in paths.items()},
    }


def _by_class(areas: Sequence[Area], taxonomy: Taxonomy, mpp: float, searched: float) -> dict[str, dict[str, Any]]:
    found = {}
    for kind, name in enumerate(taxonomy.names, 1):
        mine = [area.polygon.area * mpp**2 / 1e6 for area in areas if area.kind == kind]
        share = sum(mine) / searched if searched else 0.0
        found[name] = {"regions": len(mine), "area_mm2": round(sum(mine), 6), "share": round(share, 6)}
    return found


def _id(reader: SlideReader, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{reader.fingerprint} region {number}"))


def _features(areas: Sequence[Area], taxonomy: Taxonomy, reader: SlideReader) -> list[dict[str, Any]]:
    """QuPath annotations, in the viewer's frame."""
    features: list[dict[str, Any]] = []
    for number, area in enumerate(areas):
        kind = taxonomy.classes[area.kind - 1]
        seen = shapely.transform(area.polygon, lambda xy: np.round(to_viewer(xy, reader.bounds.corner), 2))
        properties = {
            "objectType": "annotation",
            "name": f"{kind.name} {number + 1}",
            "classification": {"name": kind.name, "color": list(kind.colour)},
            "measurements": {
                "Area µm²": round(area.polygon.area * reader.mpp**2, 1),
                "Probability": round(area.probability, 4),
            },
        }
        geometry = json.loads(shapely.to_geojson(seen))
        features.append({"type": "Feature", "id": _id(reader, number), "geometry": geometry, "properties": properties})
    return features


def _table(areas: Sequence[Area], taxonomy: Taxonomy, reader: SlideReader, plan: TissuePlan) -> pa.Table:
    """GeoParquet 1.1: one row a region, level-0 px."""
    shapes = [area.polygon for area in areas]
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    corners = ("xmin", "ymin", "xmax", "ymax")
    bbox = pa.StructArray.from_arrays([pa.array(bounds[:, i]) for i in range(4)], names=list(corners))
    table = pa.table(
        {
            "id": pa.array([_id(reader, number) for number in range(len(areas))], pa.string()),
            "class": pa.array([taxonomy.names[area.kind - 1] for area in areas], pa.string()),
            "probability": pa.array([area.probability for area in areas], pa.float32()),
            "area_um2": pa.array([area.polygon.area * reader.mpp**2 for area in areas], pa.float64()),
            "geometry": pa.array([shape.wkb for shape in shapes], pa.binary()),
            "bbox": bbox,
        }
    )
    geometry: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None, "edges": "planar"}
    geometry["covering"] = {"bbox": {corner: ["bbox", corner] for corner in corners}}
    about = {"version": __version__, "mpp": reader.mpp, "frame": "level 0", "origin": list(reader.bounds.corner)}
    about |= {"model": plan.model.spec.name, "taxonomy": taxonomy.to_json()}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    return table.replace_schema_metadata({"geo": json.dumps(geo), "histocyte": json.dumps(about)})


def _picture(
    reader: SlideReader, taxonomy: Taxonomy, areas: Sequence[Area], classes: Mapping[str, Any], name: str
) -> bytes:
    """The slide with its regions tinted, and a row for each class beside it."""
    thumbnail, downsample = reader.thumbnail(_PICTURE_PX)
    picture = np.ascontiguousarray(thumbnail)
    for kind, of in enumerate(taxonomy.classes, 1):
        shapes = [area.polygon for area in areas if area.kind == kind]
        rings = [shapely.get_coordinates(ring) / downsample for ring in shapely.get_rings(shapes)]
        points = [np.rint(ring * 16).astype(np.int32) for ring in rings]
        tint = picture.copy()
        cv2.fillPoly(tint, points, of.colour, cv2.LINE_AA, 4)
        picture = cv2.addWeighted(tint, 0.35, picture, 0.65, 0)
        cv2.polylines(picture, points, True, of.colour, 2, cv2.LINE_AA, 4)
    height, width = picture.shape[:2]
    page = Page(width + _PANEL_PX, max(height, 120 + 60 * len(classes)))
    page.paste(np.asarray(picture, np.uint8), 0, 0)
    page.fitted(width + 24, 24, name, 26, (28, 30, 46), _PANEL_PX - 48)
    for number, (of, found) in enumerate(zip(taxonomy.classes, classes.values(), strict=True)):
        y = 84 + 60 * number
        page.box(width + 24, y, 22, 22, of.colour, radius=6)
        page.fitted(width + 58, y - 2, of.name, 22, (28, 30, 46), _PANEL_PX - 82)
        page.text(
            width + 58, y + 26, f"{found['share']:.1%} of the tissue, {found['area_mm2']:.3g} mm²", 18, (92, 96, 114)
        )
    return bytes(cv2.imencode(".png", page.pixels()[..., ::-1])[1].tobytes())
