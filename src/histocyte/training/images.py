"""Which images a run learns from and which it holds out, written down so that it goes on with the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.training.journal import read_json, write_json

__all__ = ["check_same_images"]


def check_same_images(run: Path, images: Mapping[str, Mapping[str, Sequence[str]]], *, write: bool = True) -> None:
    """Write data.json, or see that the run learns from, and holds out, the images that it began with.

    Args:
        run: Folder.
        images: Names by data set, under "learnt", "held_out" and "left_out".
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
    before = _by_set(read_json(path), images)
    sets = {source for part in (*images.values(), *before.values()) for source in part}
    other = sorted(s for s in sets if any(list(images[k].get(s, ())) != before[k].get(s, []) for k in images))
    if other:
        raise InputError(
            f"'{run}' holds a run that learns from, or holds out, other images of {', '.join(other)}. Give it the same "
            "data, --seed, --leave-out and --validation or --fold, or another folder."
        )


def _by_set(found: Mapping[str, object], images: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """What the file says under each heading; nothing where it lacks one, as of an earlier version, or is damaged.

    A damaged heading then differs from what the run has, and is refused like other images.
    """
    return {k: dict(v) if isinstance(v := found.get(k, {}), dict) else {"": v} for k in images}
