"""Folders of labelled images, read and audited; the page and the record of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from histocyte.core.listener import SILENT, Listener
from histocyte.datasets.arrays import ArrayStore
from histocyte.datasets.audit.audit import Audit, audit_samples
from histocyte.datasets.audit.copies import split_named
from histocyte.datasets.folder import labelled_card, load_folder
from histocyte.datasets.sample import Sample
from histocyte.files.atomic import write_atomically
from histocyte.files.writable import check_folder
from histocyte.pages.page import check_html
from histocyte.runs.audit.page import write_audit_html
from histocyte.runs.labelled import check_labelled

__all__ = ["JSON_FILE", "PAGE_FILE", "audit_folders"]

PAGE_FILE = "audit.html"
JSON_FILE = "audit.json"


def audit_folders(
    folders: Sequence[Path], out: Path | None = None, *, mpp: float | None = None, listener: Listener = SILENT
) -> Audit:
    """Audit labelled images, and write `audit.html` and `audit.json`.

    Args:
        folders: One or more, each with pairs of image and labels.
        out: Folder of the two files; neither is written where None.
        mpp: Resolution of folders that do not state it, µm/px.
        listener: Told how work goes on.

    Raises:
        InputError: A folder is missing, twice there, or holds no labelled image; a broken file; unknown resolution.
        MissingExtraError: jinja2 or matplotlib is not installed, and a page is to be written.
        DiskError: A file cannot be written.
    """
    check_labelled(folders, mpp=mpp, learn=False)
    if out is not None:
        check_folder(out)
        check_html(out / PAGE_FILE)
    store = ArrayStore()
    samples: list[Sample] = []
    splits: list[str] = []
    classes: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        card = labelled_card(folder, mpp=mpp)
        some = load_folder(folder, card=card, store=store, listener=listener)
        samples += some
        splits += [split_named(s.name, folder.resolve().name) for s in some]
        classes[card.name] = card.classes
    found = audit_samples(samples, classes=classes, splits=splits, listener=listener)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        with write_atomically(out / JSON_FILE) as file:
            file.write(orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2))
        write_audit_html(found, samples, out / PAGE_FILE)
    return found
