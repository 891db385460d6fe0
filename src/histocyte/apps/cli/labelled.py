"""What commands say of folders of labelled images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from histocyte.core.taxonomy import Taxonomy

__all__ = ["say_notes", "say_other_classes", "say_unpaired"]

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


def say_other_classes(folders: Iterable[Path], taxonomy: Taxonomy, *, mpp: float | None = None) -> None:
    """A line for each folder of whose classes none, or not every one, can be read as one of a model's."""
    from histocyte.apps.cli.output import say
    from histocyte.core.taxonomies import readings
    from histocyte.datasets.folder import labelled_card

    for folder in folders:
        own = labelled_card(folder, mpp=mpp).taxonomy
        if own is None or not len(taxonomy):
            continue
        read = readings(own, taxonomy)
        strange = [name for name in own.names if name not in read]
        if strange and not read:
            own_names, names = ", ".join(own.names), ", ".join(taxonomy.names)
            say(f"'{folder}' has the classes {own_names}, and the model {names}: none fits, so classes are not scored.")
        elif strange:
            say(
                f"Cells of '{folder}' that are {' or '.join(strange)} count as of unknown class: the model has no such."
            )


def say_notes(images: Iterable[_WithNotes]) -> None:
    """What whoever uses these images should know of their files."""
    from histocyte.apps.cli.output import say

    notes = [note for image in images for note in image.notes]
    for note in notes[:_MOST_NOTES]:
        say(note)
    if len(notes) > _MOST_NOTES:
        say(f"{len(notes) - _MOST_NOTES:,} more images have such notes.")
