"""`histocyte segment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
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
        typer.Option(help="For OpenVINO: f32, bf16 (quicker, where the CPU can), or auto, the quickest there is."),
    ] = None,
    views: Annotated[
        int,
        typer.Option(help="Average over this many flips and turns of each tile: 1, 2, 4 or 8. As many times slower."),
    ] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Blocks at a time; as many as processors where not given.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Of the cells: parquet, geojson, or both.")
    ] = "parquet,geojson",
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings", help="Write a vector of each cell too; with torch, or after `models export --features`."
        ),
    ] = False,
    classifier: Annotated[
        Path | None,
        typer.Option(help="Classes of this file (`histocyte train classifier`) in place of the model's; needs torch."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace finished results.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Find every cell on slides and images.

    Interrupted? The same command goes on where it was. With several slides, one that fails does not stop the others;
    the exit code is then 2.

    Example: histocyte segment slide.svs -o out
    """
    from histocyte.apps.cli.output import precision_name, print_json, runtime_name, say
    from histocyte.core.errors import HistocyteError, InputError
    from histocyte.inference.classifier import load_classifier
    from histocyte.inference.load import load
    from histocyte.inference.plan import Settings
    from histocyte.results import FORMATS, Options
    from histocyte.slides.open import list_slides, open_slide

    chosen = tuple(f.strip() for f in formats.split(",") if f.strip())
    if not chosen or any(f not in FORMATS for f in chosen):
        raise InputError(f"--format {formats}: there is {', '.join(FORMATS)}, or both joined by a comma.")
    paths = list_slides(slides)
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
    )
    loaded = loaded if classes is None else loaded.classified_by(classes)
    options = Options(mpp, roi, chosen, force, workers, Settings(embeddings=embeddings))
    if len(paths) == 1:
        record = segment_one(paths[0], out, loaded, options, quiet=as_json)
        if as_json:
            print_json(record)
        return
    done, failed = [], []
    for path, name in zip(paths, _names(paths), strict=True):
        try:
            done.append(segment_one(path, out, loaded, options, name=name, quiet=as_json))
        except HistocyteError as error:
            failed.append({"slide": str(path), "error": str(error)})
            say(f": {error}", lead=str(path), style="red")
    if as_json:
        print_json({"slides": done, "failed": failed})
    say(f"{len(done)} of {len(paths)} slides done{f', {len(failed)} failed' if failed else ''}.")
    if failed:
        raise typer.Exit(2)


def segment_one(
    path: Path, out: Path, model: Model, options: Options, *, name: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Segment one slide under a progress bar and say what came of it."""
    from histocyte.apps.cli.memory import return_freed_memory
    from histocyte.apps.cli.output import progress_bar, say_note
    from histocyte.results import segment_to_folder

    return_freed_memory()
    with progress_bar("blocks", hidden=quiet) as bar:
        task = bar.add_task(path.name, total=None, note="")
        record = segment_to_folder(
            path,
            out,
            model,
            options,
            name=name,
            progress=lambda done, total, found: bar.update(task, completed=done, total=total, note=f"{found:,} cells"),
        )
    if not quiet:
        _report(record)
    else:
        for note in record["notes"]:
            say_note(note)
    return record


def _report(record: dict[str, Any]) -> None:
    from histocyte.apps.cli.output import say, say_note

    classes = ", ".join(f"{count:,} {name}" for name, count in record["classes"].items())
    already = " (finished before; --force does it again)" if record.get("already_done") else ""
    seconds = record["seconds"]["total"]
    found = f"{record['cells']:,} cells on {record['tissue_mm2']:.2f} mm²"
    say(f": {found} in {seconds:.0f} s{already}", lead=record["name"])
    say(f"  {classes}")
    for note in record["notes"]:
        say_note(note, indent="  ")
    say(f"  {Path(record['outputs']['run']).parent}/")


def _names(paths: list[Path]) -> list[str | None]:
    """Names of the result folders: the slide's own, with its folder's before it where two slides share one."""
    stems = [p.stem for p in paths]
    return [f"{p.parent.name}-{p.stem}" if stems.count(p.stem) > 1 else None for p in paths]
