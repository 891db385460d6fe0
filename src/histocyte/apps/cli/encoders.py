"""`histocyte encoders`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from histocyte.encoders.catalog.card import EncoderCard

__all__ = ["app"]

app = typer.Typer(
    help="Pre-trained image encoders: which there are, their licences, and whether their weights are available.",
    no_args_is_help=True,
)

_Name = Annotated[
    str,
    typer.Argument(help="Name in the list, a timm model, 'owner/name' on the hub, or a folder.", show_default=False),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


@app.command("list")
def list_encoders(
    pathology: Annotated[bool, typer.Option("--pathology", help="Only those trained on slides.")] = False,
    commercial: Annotated[
        bool, typer.Option("--commercial", help="Only those whose licence allows commercial use.")
    ] = False,
    as_json: _AsJson = False,
) -> None:
    """List the encoders that are known by name; any other of timm's or the hub's will do as well.

    M: millions of weights. Stride: px of the image per feature. GB: memory for one image of 1024 × 1024 px in float32,
    without gradients.

    Example: histocyte encoders list --commercial
    """
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.encoders.catalog.find import CARDS

    cards = [
        card for card in CARDS.values() if (card.mpp or not pathology) and (card.commercial == "yes" or not commercial)
    ]
    if as_json:
        print_json({"encoders": [_as_json(card) for card in cards]})
        return
    rows = [
        (
            card.name,
            f"{card.facts.parameters / 1e6:,.1f}",
            "–".join(dict.fromkeys(str(s) for s in (card.facts.strides[0], card.facts.strides[-1]))),
            f"{card.facts.memory_mb / 1000:,.1f}",
            "–".join(dict.fromkeys(f"{mpp:g}" for mpp in (card.mpp[0], card.mpp[-1]))) if card.mpp else "–",
            card.commercial,
            "yes" if card.gated else "–",
        )
        for card in cards
    ]
    columns = ("encoder", "M", "stride", "GB", "µm/px", "commercial", "gated")
    print_table("Encoders: millions of weights, px per feature, memory at 1024²", columns, rows)


@app.command()
def show(name: _Name, as_json: _AsJson = False) -> None:
    """Show an encoder's card: source, licence, sizes, normalisation, tapped blocks.

    Example: histocyte encoders show uni2-h
    """
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.encoders.catalog.find import find_card

    card = find_card(name)
    if as_json:
        print_json(_as_json(card))
        return
    print_table(card.title, ("fact", "value"), [(key, value) for key, value in _lines(card) if value])


@app.command()
def check(
    name: _Name,
    weights: Annotated[
        Path | None, typer.Option(help="A weights file, or a folder in the hub's layout, in place of the hub.")
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Check whether an encoder's weights are available: on this machine, or by token, access and disk space.

    Exit code 2 means that they are not. Nothing is downloaded.

    Example: histocyte encoders check vit256 --weights vit256_small_dino.pth
    """
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.encoders.catalog.find import find_card
    from histocyte.encoders.weights.availability import check as check_weights

    card = find_card(name)
    found = check_weights(card, weights)
    if as_json:
        steps = [dataclasses.asdict(step) for step in found.steps]
        print_json({"encoder": card.name, "available": found.available, "path": found.path, "steps": steps})
    else:
        marks = {True: "ok", False: "NO", None: "–"}
        print_table(
            f"Weights of {card.name}", ("step", "ok", "found"), [(s.name, marks[s.ok], s.note) for s in found.steps]
        )
    if not found.available:
        raise typer.Exit(2)


def _as_json(card: EncoderCard) -> dict[str, Any]:
    facts = {**dataclasses.asdict(card.facts), "memory_mb": card.facts.memory_mb}
    return {**dataclasses.asdict(card), "facts": facts}


def _lines(card: EncoderCard) -> list[tuple[str, str]]:
    facts = card.facts
    pinned = f" at {card.revision}" if card.revision != "main" else ""
    return [
        ("name", card.name),
        ("weights", f"{card.hub}{pinned} on the Hugging Face hub, {card.file}" if card.hub else card.page),
        ("licence", card.licence),
        ("commercial use", card.commercial),
        ("gated", "yes: accept its conditions on its page first" if card.gated else "no"),
        ("paper", card.paper),
        ("trained at", ", ".join(f"{mpp:g}" for mpp in card.mpp) + " µm/px" if card.mpp else "photographs"),
        ("trained on images of", f"{card.native_px} px"),
        ("mean", ", ".join(f"{v:g}" for v in card.mean)),
        ("std", ", ".join(f"{v:g}" for v in card.std)),
        ("weights, millions", f"{facts.parameters / 1e6:,.1f}"),
        ("channels", ", ".join(map(str, facts.widths))),
        ("strides", ", ".join(map(str, facts.strides))),
        ("blocks", str(facts.depth or "")),
        ("class token and registers", "" if facts.prefix_tokens is None else str(facts.prefix_tokens)),
        ("tapped blocks", ", ".join(map(str, facts.taps))),
        ("taps from", card.taps_from),
        ("memory at 1024²", f"{facts.memory_mb / 1000:,.1f} GB: weights and activations in float32, without gradients"),
        ("part of a model", f"{card.part} {dict(card.options)}"),
    ]
