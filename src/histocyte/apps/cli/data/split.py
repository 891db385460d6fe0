"""`histocyte data split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["split"]


def split(
    folder: Annotated[Path, typer.Argument(help="Folder of an imported set.", show_default=False)],
    parts: Annotated[
        str, typer.Option(metavar="NAME=SHARE,…", help="Names of the parts and what share of the set each is to be.")
    ] = "train=70,validation=20,test=10",
    seed: Annotated[int, typer.Option(help="Seed of the choice.")] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Replace parts that the set has.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Divide an imported set into parts, by patient or slide and alike in tissues and classes.

    Example: histocyte data split sets/mine --parts train=70,validation=20,test=10
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, print_table
    from histocyte.datasets.shards.divide import divide_shards

    found = divide_shards(folder, _shares(parts), seed=seed, again=replace, listener=people(bars=not as_json))
    if as_json:
        print_json({"folder": str(folder), **found.to_json()})
        return
    rows = [(name, f"{count:,}", f"{count / found.images:.1%}") for name, count in found.by_split.items()]
    print_table(found.title or found.card.name, ("part", "images", "share"), rows)


def _shares(text: str) -> dict[str, float]:
    """The shares of parts by name.

    >>> _shares("train=80,test=20")
    {'train': 80.0, 'test': 20.0}
    """
    from histocyte.core.errors import InputError

    shares: dict[str, float] = {}
    for item in text.split(","):
        name, _, share = (part.strip() for part in item.partition("="))
        try:
            value = float(share)
        except ValueError:
            value = 0.0
        if not name or "@" in name or name in shares or not 0 < value < float("inf"):
            raise InputError(f"'{text}' does not name parts and their shares. Write them so: train=70,test=30.")
        shares[name] = value
    if len(shares) < 2:
        raise InputError(f"'{text}' is one part; a set is divided into two or more: train=70,test=30.")
    return shares
