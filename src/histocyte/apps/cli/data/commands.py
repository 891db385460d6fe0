"""`histocyte data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histocyte.apps.cli.data.audit import audit
from histocyte.apps.cli.data.split import split

if TYPE_CHECKING:
    from histocyte.datasets.shards.describe import Description

__all__ = ["app"]

app = typer.Typer(
    help="Labelled data: import sets as they are distributed, or your own, and find mistakes in them.",
    no_args_is_help=True,
)
app.command()(split)
app.command("audit")(audit)


@app.command("import")
def import_(
    name: Annotated[
        str,
        typer.Argument(
            help="Public set (`histocyte data list`), or the form of your own data: folder, labels, coco, parquet.",
            show_default=False,
        ),
    ],
    source: Annotated[Path, typer.Argument(help="Downloaded and unpacked folder, or file.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the imported set.", show_default=False)],
    set_name: Annotated[str | None, typer.Option("--name", help="Name of the set; its own by default.")] = None,
    mpp: Annotated[float | None, typer.Option(help="Resolution of your own images in µm/px.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes of your own data in the order of their codes, separated by commas, or a known list."
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of your own data.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Import labelled images into Parquet shards that every command reads.

    Interrupted? Run the same command again to continue. Parts of a set stand behind an @ where a folder is asked for:
    histocyte train sets/pannuke@fold1,fold2

    Example: histocyte data import pannuke downloads/pannuke -o sets/pannuke
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, say
    from histocyte.apps.cli.stopping import Stopping
    from histocyte.core.listener import Stopped
    from histocyte.runs.data.import_data import import_data

    with Stopping("ends after this image; finished shards are kept", once_asked=True) as stopping:
        try:
            found = import_data(
                name,
                source,
                out,
                set_name=set_name or "",
                mpp=mpp,
                classes=classes,
                licence=licence,
                stop=stopping.asked,
                listener=people(bars=not as_json),
            )
        except Stopped as stopped:
            raise stopping.end(str(stopped)) from None
    if as_json:
        print_json({"folder": str(out), **found.to_json()})
        return
    _print(found)
    say(f"Train on it: histocyte train {out} -o runs/mine")


@app.command("list")
def list_sets(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """List the public sets that can be imported, with their licences and the files they are made of.

    Example: histocyte data list
    """
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.runs.data.sets.registry import OWN, SETS

    sets: dict[str, Any] = {name: SETS[name] for name in SETS}
    if as_json:
        facts = [
            {
                "name": name,
                "title": reader.title,
                "classes": list(reader.card.classes),
                "of": "tissue" if reader.card.areas else "cells",
                "mpp": reader.card.mpp,
                "licence": reader.card.licence,
                "citation": reader.card.citation,
                "layout": reader.layout,
            }
            for name, reader in sets.items()
        ]
        print_json({"sets": facts, "own": list(OWN)})
        return
    rows = [
        (
            name,
            ", ".join(reader.card.classes) or "–",
            f"{reader.card.mpp:g}",
            reader.card.licence,
            reader.layout,
        )
        for name, reader in sets.items()
    ]
    print_table("Public sets", ("name", "classes", "µm/px", "licence", "files"), rows)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of an imported set.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Show what an imported set holds: images, labels by class, official parts, licence.

    Example: histocyte data show sets/pannuke
    """
    from histocyte.apps.cli.output import print_json
    from histocyte.datasets.shards.describe import read_description

    found = read_description(folder)
    if as_json:
        print_json({"folder": str(folder), **found.to_json()})
    else:
        _print(found)


def _print(found: Description) -> None:
    from histocyte.apps.cli.output import print_table

    rows = [
        ("images", f"{found.images:,}"),
        ("labels", f"{found.labels:,}"),
        *((f"  {name}", f"{count:,}") for name, count in found.by_class.items()),
        *((f"part {name}", f"{count:,}") for name, count in found.by_split.items()),
        ("resolution", f"{found.card.mpp:g} µm/px"),
        ("licence", found.card.licence),
        ("cite", found.card.citation),
    ]
    print_table(found.title or found.card.name, ("", ""), rows)
