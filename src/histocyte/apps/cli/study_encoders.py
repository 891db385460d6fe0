"""`histocyte study encoders`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["encoders"]


def encoders(
    data: Annotated[list[Path], typer.Option(help="Folder of labelled images; repeat for more.", show_default=False)],
    encoders: Annotated[
        list[str], typer.Option(help="NAME, NAME=WEIGHTS_FILE or NAME=random, with commas between.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the study; an unfinished one goes on.")] = Path(
        "runs/study_encoders"
    ),
) -> None:
    """Compare frozen encoders behind one decoder."""
    from histocyte.core.errors import require

    require("torch", extra="study")
    raise SystemExit(2)
