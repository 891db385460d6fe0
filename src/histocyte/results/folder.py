"""What a slide leaves on disk: runs the pipeline and writes OUT/<slide name>/ (design: outputs, crash).

Finished blocks are journalled in a hidden folder beside the results; the final files appear whole, and run.json last
of all (`results.record`), so that a folder with run.json is a finished one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from histocyte.core.errors import BusyError
from histocyte.core.listener import SILENT, Listener, Stop, never
from histocyte.core.version import __version__
from histocyte.files.names import shown
from histocyte.formats.geojson.regions import read_roi
from histocyte.formats.manifest import RunRecord
from histocyte.inference.load import Model, load
from histocyte.inference.plan import Plan, Settings, check_resolution
from histocyte.model.zoo import DEFAULT_MODEL
from histocyte.pipeline import finish_blocks
from histocyte.results.findings import findings, known_to_model, peak_memory_mb, seconds_by_stage
from histocyte.results.outputs import FORMATS, drawn_regions, write_outputs
from histocyte.results.record import earlier_record, finished, plain_signature, publish_record
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
        formats: Formats of the cells, out of `FORMATS`.
        force: Replace a finished result, also one made with other parameters or changed since. An unfinished run goes
            on all the same.
        workers: Blocks under way at a time.
        settings: How the slide is cut into blocks.
        tile_px: Side of the network's tiles, px at the model's resolution; as the model was loaded where None.
        margin_px: Border of a tile whose maps do not count where a neighbouring tile has better; as loaded where None.
    """

    mpp: float | None = None
    roi: str | Path | None = None
    formats: tuple[str, ...] = FORMATS
    force: bool = False
    workers: int | None = None
    settings: Settings = field(default_factory=Settings)
    tile_px: int | None = None
    margin_px: int | None = None


def segment_to_folder(
    slide: str | Path,
    out: str | Path,
    model: str | Path | Model = DEFAULT_MODEL,
    options: Options | None = None,
    *,
    name: str | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> RunRecord:
    """Segment a slide and write its results to OUT/<name>/.

    A result that is there already and was made with the same parameters is kept; an unfinished one goes on.

    >>> import histocyte as hc
    >>> record = hc.segment_to_folder("slide.svs", "out")                    # doctest: +SKIP
    >>> record.classes, record.outputs["parquet"]                            # doctest: +SKIP

    Args:
        slide: File or DICOM folder.
        out: Folder of results.
        model: A bundled model's name, a model file, or a loaded model.
        options: What may be chosen.
        name: Name of the slide's folder; the slide's own where None.
        listener: Is told how far it is; nobody where None.
        stop: Asked between two blocks whether to end there; never where None.

    Returns:
        What run.json holds, with `outputs` as paths: slide, mpp, tissue_mm2, cells, classes, seconds by stage,
        peak_memory_mb, notes, ...; `already_done` where a finished result was kept.

    Raises:
        InputError: Nothing can be done with the slide, the region or the parameters, or another result is in the way.
        BusyError: Another process is at work on the same result.
        DiskError: The results cannot be written.
        Stopped: Told to; the same call goes on.
    """
    options, listener, stop = options or Options(), listener or SILENT, stop or never
    model = model if isinstance(model, Model) else load(model)
    model = model.with_tiles(tile_px=options.tile_px, margin_px=options.margin_px)
    began = time.monotonic()
    with open_slide(slide, mpp=options.mpp) as reader:
        check_resolution(reader.mpp, model.spec.mpp)
        tissue, notes = _where(reader, options.roi)
        plan = Plan.of(reader, model, tissue.searched, options.settings)
        folder = Path(out) / (name or reader.name)
        key = plain_signature(plan)
        kept = None if options.force else finished(folder, key, options.formats)
        if kept is not None:
            return kept
        with _journal(folder, key) as journal:
            resumed = len(journal.done())
            kept = None if options.force else finished(folder, key, options.formats)
            if kept is not None:  # by another process, before the journal was ours
                journal.discard()
                return kept
            finish_blocks(plan, journal, workers=options.workers, name=folder.name, listener=listener, stop=stop)
            named = [] if options.roi is None else drawn_regions(tissue.region, reader.mpp)
            earlier = earlier_record(folder, key)
            record = write_outputs(
                folder,
                plan,
                journal,
                region=tissue.region,
                named=named,
                formats=options.formats,
                listener=listener,
                stop=stop,
            )
            stats = [journal.read(i).stats for i in sorted(journal.done())]
            record["known_to_model"] = known_to_model(reader, model)
            record |= {
                "histocyte": __version__,
                "slide": shown(slide),
                "searched_beyond_um": tissue.beyond_um,
                "seconds": {**seconds_by_stage(stats), "total": round(time.monotonic() - began, 3)},
                "blocks": len(stats),
                "resumed_blocks": resumed,
                "workers": options.workers or model.runtime.parallel,
                "peak_memory_mb": peak_memory_mb(),
                "runtime": {
                    "name": model.runtime.name,
                    "device": model.runtime.device,
                    "precision": model.runtime.precision,
                },
                "signature": key,
                "notes": [*reader.notes, *notes, *findings(record, stats, reader, model)],
            }
            done = publish_record(folder, record, earlier)
            journal.discard()
    return done.at(folder)


def _journal(folder: Path, key: Mapping[str, object]) -> Journal:
    try:
        return Journal.open(folder / JOURNAL, signature=key)
    except BusyError as error:
        raise BusyError(folder, error.holder) from error


def _where(reader: SlideReader, roi: str | Path | None) -> tuple[Tissue, list[str]]:
    """What the user drew, or the tissue, and notes on it."""
    if roi is None:
        tissue = find_tissue(reader)
        return tissue, [tissue.note] if tissue.note else []
    drawn, notes = read_roi(Path(roi), reader)
    return Tissue(drawn, drawn, "brightfield", ""), notes
