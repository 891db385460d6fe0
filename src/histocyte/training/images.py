"""Which images a run learns from and which it holds out, written down so that it goes on with the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.training.journal import read_json, write_json

__all__ = ["check_same_images"]


def check_same_images(run: Path, images: Mapping[str, Mapping[str, Mapping[str, str]]], *, write: bool = True) -> None:
    """Write data.json, or see that the run learns from, and holds out, the images that it began with.

    Args:
        run: Folder.
        images: Under "learnt", "held_out" and "left_out", by data set, the prints of images (`ImagePrint.to_text`) by
            name.
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
    before = {part: _sets(part_before, path) for part, part_before in read_json(path).items()}
    sets = {source for part in (*images.values(), *before.values()) for source in part}
    other = sorted(
        s for s in sets if any(_differ(images[part].get(s, {}), before.get(part, {}).get(s, {})) for part in images)
    )
    if other:
        raise InputError(
            f"'{run}' holds a run that learns from, or holds out, other images of {', '.join(other)}. Give it the same "
            "data, --seed, --leave-out and --validation or --fold, or another folder."
        )


def _sets(part: object, path: Path) -> dict[str, dict[str, str]]:
    """Prints by name and set, empty where an earlier version wrote names alone.

    Raises:
        InputError: The file is damaged.
    """
    try:
        sets = dict(part)  # type: ignore[call-overload]
        return {
            s: dict.fromkeys(images, "") if isinstance(images, list) else dict(images) for s, images in sets.items()
        }
    except (TypeError, ValueError) as error:
        raise InputError(f"'{path}' is damaged. Begin a new run in another folder.") from error


def _differ(now: Mapping[str, str], before: Mapping[str, str]) -> bool:
    return list(now) != list(before) or any(before[name] not in ("", text) for name, text in now.items())
