"""`histocyte segment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histocyte.apps.cli.tiles import Margin, Tile
from histocyte.core.geometry import area_text
from histocyte.core.listener import Stop, never
from histocyte.core.names import counted
from histocyte.files.names import shown

if TYPE_CHECKING:
    from histocyte.formats.manifest import RunRecord
    from histocyte.inference.load import Model
    from histocyte.results import Options

__all__ = ["segment", "segment_one"]


def segment(
    slides: Annotated[
        list[str], typer.Argument(help="Slides: files, folders, globs, DICOM folders.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of results; each slide gets a folder in it.")] = Path(
        "out"
    ),
    model: Annotated[str, typer.Option(help="A bundled model's name or a model file.")] = "hover-unet-consep",
    mpp: Annotated[float | None, typer.Option(help="Resolution in µm/px, where the file does not state it.")] = None,
    roi: Annotated[Path | None, typer.Option(help="GeoJSON of the regions to search, e.g. from QuPath.")] = None,
    runtime: Annotated[str, typer.Option(help="auto, openvino, torch, onnxruntime.")] = "auto",
    device: Annotated[str, typer.Option(help="For torch: auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            help="For OpenVINO: auto (bf16 where the CPU has units for it: up to twice as fast), bf16, or f32, with "
            "which every machine finds the same cells.",
            show_default="auto",
        ),
    ] = None,
    views: Annotated[
        int,
        typer.Option(
            help="Average predictions over this many flips and turns of each tile: 1, 2, 4 or 8; as many times slower."
        ),
    ] = 1,
    tile: Tile = None,
    margin: Margin = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Blocks to work on at a time; one per processor by default.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Cell files to write: parquet, geojson, or both.")
    ] = "parquet,geojson",
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings",
            help="Also write a vector for each cell; needs torch, or a model exported with `models export --features`.",
        ),
    ] = False,
    classifier: Annotated[
        Path | None,
        typer.Option(
            help="Classifier file (`histocyte train classifier`) whose classes replace the model's; needs torch."
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive/--no-recursive", help="Search subfolders too.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace finished results.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Find every cell on slides and images.

    Interrupted? Run the same command again to continue, with --force too. With several slides, one that fails does not
    stop the others; the exit code is then 2. A slide that another process is working on is skipped.

    Example: histocyte segment slide.svs -o out
    """
    from histocyte.apps.cli.output import precision_name, print_json, runtime_name
    from histocyte.apps.cli.stopping import ending_with_a_word
    from histocyte.core.errors import InputError
    from histocyte.files.writable import check_folder
    from histocyte.inference.load import load
    from histocyte.inference.plan import Settings
    from histocyte.model.classifier import load_classifier
    from histocyte.results import FORMATS, Options
    from histocyte.results.names import result_names
    from histocyte.slides.listing import find_slides
    from histocyte.slides.open import open_slide

    chosen = tuple(f.strip() for f in formats.split(",") if f.strip())
    if not chosen or any(f not in FORMATS for f in chosen):
        raise InputError(f"--format {formats}: there is {', '.join(FORMATS)}, or both joined by a comma.")
    check_folder(out)
    found = find_slides(slides, recursive=recursive, results=out)
    paths, names = found.slides, result_names(found.slides)
    _tell_passed_over(found.passed_over)
    with ending_with_a_word():
        if len(paths) == 1:
            open_slide(paths[0], mpp=mpp).close()  # what is wrong with the slide is said before the model is loaded
        classes = None if classifier is None else load_classifier(classifier)
        runtime = "torch" if classes and runtime == "auto" else runtime
        loaded = load(
            model,
            runtime=runtime_name(runtime),
            device=device,
            workers=workers,
            precision=precision_name(precision),
            features=embeddings,
            views=views,
            tile_px=tile,
            margin_px=margin,
        )
        loaded = loaded if classes is None else loaded.classified_by(classes)
        options = Options(mpp, roi, chosen, force, workers, Settings(embeddings=embeddings))
        batch = _Batch(out, loaded, options, quiet=as_json)
        batch.segment(list(zip(paths, names, strict=True)))
    if as_json:
        print_json(batch.done[0].to_json() if len(paths) == len(batch.done) == 1 else batch.to_json())
    if batch.failed:
        raise typer.Exit(2)


class _Batch:
    """Segments slides one after the other, and keeps what became of each."""

    def __init__(self, out: Path, model: Model, options: Options, *, quiet: bool) -> None:
        self._out, self._model, self._options, self._quiet = out, model, options, quiet
        self.done: list[RunRecord] = []
        self.failed: list[dict[str, str]] = []
        self.skipped: list[dict[str, str]] = []

    def segment(self, slides: list[tuple[Path, str]]) -> None:
        """Segment slides, each into a folder of its name.

        Raises:
            typer.Exit: Told to end.
            Exception: Whatever is wrong with the slide, where there is but one.
        """
        from histocyte.apps.cli.output import say
        from histocyte.apps.cli.stopping import Stopping
        from histocyte.core.listener import Stopped

        several, left, stands = len(slides) > 1, slides, ""
        with Stopping("ends once the blocks under way are done", at_once=True) as stopping:
            try:
                busy = self._each(left, stopping.asked, several=several)
                # By now the others may be done with theirs, or have been ended.
                busy = self._each(list(busy), stopping.asked, several=several)
            except Stopped as stopped:
                stands = str(stopped)
        if stands:
            raise stopping.end(f"{stands}, {len(self.done)} of {counted(len(slides), 'slide')}" if several else stands)
        for (path, _), why in busy.items():
            self.skipped.append({"slide": shown(path), "why": why})
            say(f": skipped. {why}", lead=shown(path))
        if several:
            counts = {"failed": len(self.failed), "skipped": len(self.skipped)}
            others = "".join(f", {count} {what}" for what, count in counts.items() if count)
            say(f"{len(self.done)} of {counted(len(slides), 'slide')} done{others}.")

    def to_json(self) -> dict[str, Any]:
        """What became of each slide."""
        return {"slides": [record.to_json() for record in self.done], "failed": self.failed, "skipped": self.skipped}

    def _each(self, slides: list[tuple[Path, str]], stop: Stop, *, several: bool) -> dict[tuple[Path, str], str]:
        """Those of the slides that other processes are at work on, and what is said of it."""
        from histocyte.core.errors import BusyError
        from histocyte.core.listener import Stopped

        busy = {}
        for path, name in slides:
            if stop():
                raise Stopped(f"'{name}' is still to be begun")
            try:
                record = segment_one(
                    path, self._out, self._model, self._options, name=name, quiet=self._quiet, stop=stop
                )
            except Stopped:
                raise
            except BusyError as error:
                busy[path, name] = str(error)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is this slide's own)
                if not several:
                    error.add_note(f"It came of '{shown(path)}'.")
                    raise
                self._fail(path, error)
            else:
                self.done.append(record)
        return busy

    def _fail(self, path: Path, error: Exception) -> None:
        from histocyte.apps.cli.failures import of_slide
        from histocyte.apps.cli.output import say

        told = of_slide(path, error)
        self.failed.append({"slide": shown(path), "error": told})
        say(f" {told}", lead="failed", style="red")


def segment_one(
    path: Path,
    out: Path,
    model: Model,
    options: Options,
    *,
    name: str | None = None,
    quiet: bool = False,
    stop: Stop = never,
) -> RunRecord:
    """Segment one slide, tell of its progress, and say what came of it; only its notes where quiet."""
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.memory import return_freed_memory
    from histocyte.results import segment_to_folder

    return_freed_memory()
    record = segment_to_folder(path, out, model, options, name=name, listener=people(), stop=stop)
    _report(record, notes_alone=quiet)
    return record


def _report(record: RunRecord, *, notes_alone: bool) -> None:
    from histocyte.apps.cli.output import say, say_note

    name = record.name
    if notes_alone:
        for note in record.notes:
            say_note(f"{name}: {note}")
        return
    already = " (finished before; --force does it again)" if record.already_done else ""
    found = f"{counted(record.cells, 'cell')} on {area_text(record.tissue_mm2)}"
    say(f": {found} in {record.seconds['total']:.0f} s{already}", lead=name)
    say("  " + ", ".join(f"{count:,} {kind}" for kind, count in record.classes.items()))
    for note in record.notes:
        say_note(note, indent="  ")
    say(f"  {Path(record.outputs['run']).parent}/")


def _tell_passed_over(files: list[Path]) -> None:
    """Name what lies beside slides and was taken for pictures about them."""
    from histocyte.apps.cli.output import say

    if files:
        named = ", ".join(shown(path) for path in files[:3]) + (f" and {len(files) - 3:,} more" * (len(files) > 3))
        say(f"Passed over as pictures about slides: {named}. Name a file itself to have it segmented.")
