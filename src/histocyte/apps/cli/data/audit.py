"""`histocyte data audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["audit"]

_MOST_FINDINGS = 12
"""More would not fit on a screen; the page has all."""


def audit(
    folders: Annotated[list[Path], typer.Argument(help="Folders of labelled images.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for audit.html and audit.json.", show_default=False)],
    mpp: Annotated[float | None, typer.Option(help="Resolution in µm/px of folders that do not state it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Look for mistakes in labelled images: copies across splits, wrong resolution, shifted or broken labels.

    Writes a page with the places that show each finding, and says whether the licences let a model that learns from
    the sets be used commercially.

    Example: histocyte data audit my/train my/test -o audit
    """
    from histocyte.apps.cli.listeners import people
    from histocyte.apps.cli.output import print_json, print_table, say
    from histocyte.runs.audit.audit_folders import PAGE_FILE, audit_folders

    found = audit_folders(folders, out, mpp=mpp, listener=people(bars=not as_json))
    if as_json:
        print_json(found.to_json())
        return
    rows = [
        (row.source, row.split or "–", *(f"{n:,}" for n in (row.images, row.groups, row.cells))) for row in found.counts
    ]
    print_table("Sets", ("set", "split", "images", "patients", "cells"), rows)
    if found.findings:
        shown = [(f.severity.name.lower(), f.what) for f in found.findings[:_MOST_FINDINGS]]
        print_table(f"Findings ({len(found.findings)})", ("severity", "what"), shown)
    else:
        say("Nothing was found.")
    say(f"Commercial use of a model trained on this? {found.licences.answer}")
    say(f"{out / PAGE_FILE}")
