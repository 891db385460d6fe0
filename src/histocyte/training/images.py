"""Which images a run learns from and which it holds out, written down so that it goes on with the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.training.journal import write_json

__all__ = ["check_same_images"]


def check_same_images(run: Path, images: Mapping[str, Mapping[str, Sequence[str]]], *, write: bool = True) -> None:
    """Write data.json, or see that the run learns from, and holds out, the images that it began with.

    Args:
        run: Folder.
        images: Names by data set, under "learnt" and "held_out".
        write: Write the file where there is none; of several processes one does.

    Raises:
        InputError: The folder holds a run on other images.
        DiskError: It cannot be written.
    """
    path = run / "data.json"
    if not path.exists():
        if write:
            write_json(path, images)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    sets = {source for part in (*images.values(), *before.values()) for source in part}
    other = sorted(s for s in sets if any(list(images[k].get(s, ())) != before.get(k, {}).get(s, []) for k in images))
    if other:
        raise InputError(
            f"'{run}' holds a run that learns from, or holds out, other images of {', '.join(other)}. Give it the same "
            "data, --seed and --validation or --fold, or another folder."
        )
