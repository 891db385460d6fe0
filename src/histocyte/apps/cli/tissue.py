"""`histocyte tissue`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["tissue"]


def tissue(
    slide: Annotated[Path, typer.Argument(help="Slide or image: a file or a DICOM folder.", show_default=False)],
    model: Annotated[str, typer.Option(help="Model of tissue: a file, the folder of a training, or a bundled name.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of results; the slide gets a folder in it.")] = Path(
        "out"
    ),
    mpp: Annotated[float | None, typer.Option(help="Resolution in µm/px, where the file does not state it.")] = None,
    roi: Annotated[Path | None, typer.Option(help="GeoJSON of where to look, e.g. from QuPath.")] = None,
    min_area_um2: Annotated[
        float,
        typer.Option(
            "--min-area",
            min=0,
            help="Smallest region and hole, µm²: smaller regions are dropped, smaller holes are filled.",
        ),
    ] = 2000.0,
    smoothing_um: Annotated[
        float, typer.Option("--smoothing", min=0, max=100, help="Smoothing of the probabilities, µm.")
    ] = 4.0,
    simplify_um: Annotated[
        float, typer.Option("--simplify", min=0, max=100, help="Tolerance of simplified outlines, µm.")
    ] = 3.0,
    runtime: Annotated[str, typer.Option(help="auto, openvino, torch, onnxruntime.")] = "auto",
    device: Annotated[str, typer.Option(help="For torch: auto, cpu, cuda, cuda:1, mps.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Blocks to work on at a time; one per processor by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace finished regions.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Tell kinds of tissue on a slide apart: regions as polygons with holes, and their areas.

    Interrupted? Run the same command again to continue.

    Example: histocyte tissue slide.svs --model runs/glands -o out
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, runtime_name, say, say_note
    from histocyte.apps.cli.stopping import Stopping, ending_with_a_word
    from histocyte.core.geometry import area_text
    from histocyte.core.listener import Stopped
    from histocyte.files.writable import check_folder
    from histocyte.inference.load import load
    from histocyte.pipeline.tissue_map import TissueSettings
    from histocyte.results.tissue import TissueOptions, tissue_to_folder
    from histocyte.slides.open import open_slide

    check_folder(out)
    chosen = TissueSettings(min_area_um2=min_area_um2, smoothing_um=smoothing_um, simplify_um=simplify_um)
    with ending_with_a_word(), Stopping("ends once the blocks under way are done", at_once=True) as stopping:
        open_slide(slide, mpp=mpp).close()  # what is wrong with the slide is said before the model is loaded
        loaded = load(model, runtime=runtime_name(runtime), device=device, workers=workers)
        options = TissueOptions(mpp, roi, force, workers, chosen)
        try:
            record = tissue_to_folder(slide, out, loaded, options, listener=people(), stop=stopping.asked)
        except Stopped as stopped:
            raise stopping.end(str(stopped)) from None
    if as_json:
        print_json(record)
        return
    say(f": {area_text(record['tissue_mm2'])} of tissue", lead=record["name"])
    for name, found in record["classes"].items():
        area, share = area_text(found["area_mm2"]), f"{found['share']:.1%} of the tissue"
        say(f"  {name}: {found['regions']:,} regions, {area}, {share}")
    for note in record["notes"]:
        say_note(note, indent="  ")
    say(f"  {out / record['name']}/")
