"""What commands say of folders of labelled images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["say_unpaired"]


def say_unpaired(folders: Iterable[Path]) -> None:
    """A line for each folder that holds images without labels or the reverse, since they are passed over."""
    from histocyte.apps.cli.output import say
    from histocyte.datasets.folder import unpaired

    for folder in folders:
        if alone := unpaired(folder):
            count = f"{len(alone):,} files are" if len(alone) > 1 else "1 file is"
            say(f"In '{folder}' {count} an image without labels or labels without an image, e.g. '{alone[0].name}'.")
