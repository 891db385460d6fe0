"""`--tile` and `--margin`, the same for every command that runs a model."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Margin", "Tile"]

Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="PX",
        help="Side of the squares that the network is given of an image, px at the model's resolution; the "
        "model's own by default.",
    ),
]
Margin = Annotated[
    int | None,
    typer.Option(
        "--margin",
        metavar="PX",
        help="Border of a square that does not count where a neighbouring one has better; the model's own by default.",
    ),
]
