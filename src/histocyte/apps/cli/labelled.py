"""What commands say of folders of labelled images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

__all__ = ["say_notes", "say_unpaired"]

_MOST_NOTES = 3


class _WithNotes(Protocol):
    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know, in sentences."""


def say_unpaired(folders: Iterable[Path]) -> None:
    """A line for each folder that holds images without labels or the reverse, since they are passed over."""
    from histocyte.apps.cli.output import say
    from histocyte.datasets.folder import unpaired

    for folder in folders:
        if alone := unpaired(folder):
            count = f"{len(alone):,} files are" if len(alone) > 1 else "1 file is"
            say(f"In '{folder}' {count} an image without labels or labels without an image, e.g. '{alone[0].name}'.")


def say_notes(images: Iterable[_WithNotes]) -> None:
    """What whoever uses these images should know of their files."""
    from histocyte.apps.cli.output import say

    notes = [note for image in images for note in image.notes]
    for note in notes[:_MOST_NOTES]:
        say(note)
    if len(notes) > _MOST_NOTES:
        say(f"{len(notes) - _MOST_NOTES:,} more images have such notes.")
