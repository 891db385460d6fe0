"""What a slide leaves on disk: runs the pipeline and writes OUT/<slide name>/ (design: outputs, crash).

Finished blocks are journalled in a hidden folder beside the results; the final files appear whole, and run.json last
of all, so that a folder with run.json is a finished one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histocyte.core.errors import InputError
from histocyte.core.version import __version__
from histocyte.export.manifest import write_manifest
from histocyte.formats.geojson.regions import read_roi
from histocyte.inference.load import Model
from histocyte.inference.plan import Plan, Settings, check_resolution
from histocyte.pipeline import Progress, finish_blocks
from histocyte.results.findings import findings, peak_memory_mb, seconds_by_stage
from histocyte.results.outputs import FORMATS, drawn_regions, write_outputs
from histocyte.slides.open import open_slide
from histocyte.slides.protocol import SlideReader
from histocyte.slides.tissue import Tissue, find_tissue
from histocyte.store.journal import Journal

__all__ = ["Options", "segment_to_folder"]

JOURNAL = ".journal"


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
        tissue, notes = _where(reader, options.roi)
        plan = Plan.of(reader, model, tissue.searched, options.settings)
        folder = Path(out) / (name or reader.name)
        before = None if options.force else _finished(folder, _key(plan), options.formats)
        if before is not None:
            return before
        with _journal(folder, plan, force=options.force) as journal:
            resumed = len(journal.done())
            finish_blocks(plan, journal, workers=options.workers, progress=progress)
            named = [] if options.roi is None else drawn_regions(tissue.region, reader.mpp)
            record = write_outputs(folder, plan, journal, tissue.region, named, options.formats)
            stats = [journal.read(i).stats for i in sorted(journal.done())]
            record |= {
                "histocyte": __version__,
                "slide": str(slide),
                "searched_beyond_um": tissue.beyond_um,
                "seconds": {**seconds_by_stage(stats), "total": round(time.monotonic() - began, 3)},
                "blocks": len(stats),
                "resumed_blocks": resumed,
                "workers": options.workers or model.runtime.parallel,
                "peak_memory_mb": peak_memory_mb(),
                "runtime": {"name": model.runtime.name, "device": model.runtime.device},
                "signature": _key(plan),
                "notes": [*reader.notes, *notes, *findings(record, stats, reader, model)],
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


def _where(reader: SlideReader, roi: Path | None) -> tuple[Tissue, list[str]]:
    """What the user drew, or the tissue, and notes on it."""
    if roi is None:
        tissue = find_tissue(reader)
        return tissue, [tissue.note] if tissue.note else []
    drawn, notes = read_roi(roi, reader)
    return Tissue(drawn, drawn, "brightfield", ""), notes


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
