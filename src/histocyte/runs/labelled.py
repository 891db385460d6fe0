"""Folders of labelled images as runs take them: seen to before anything that takes seconds, and told of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from histocyte.core.names import counted

if TYPE_CHECKING:
    from histocyte.core.listener import Listener
    from histocyte.datasets.sample import Sample
    from histocyte.model.spec import ModelSpec

__all__ = ["are_of_tissue", "check_labelled", "check_readable", "parse_fold", "say_notes", "say_unpaired"]

_MOST_NOTES = 3


class _WithNotes(Protocol):
    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know, in sentences."""


def check_labelled(
    folders: Sequence[Path], *, mpp: float | None = None, option: str = "--mpp", learn: bool = True
) -> None:
    """See that folders of labelled images can be used, before anything that takes seconds is loaded.

    Args:
        folders: As they were given.
        mpp: Resolution of those that do not state it.
        option: Option of the command line that says so.
        learn: Whether they are to be learnt from, which external test sets never are.

    Raises:
        InputError: No such folder, no pair of image and labels in one, one twice, or an unknown resolution.
    """
    from histocyte.core.errors import InputError
    from histocyte.datasets.folder import is_labelled, labelled_card, refuse_external, refuse_twice
    from histocyte.datasets.image_table import ImageTable

    if learn:
        refuse_external(folders)
    refuse_twice(folders)
    for folder in folders:
        labelled_card(folder, mpp=mpp, option=option)
        ImageTable.read(folder)
        if not is_labelled(folder):
            raise InputError(
                f"'{folder}' holds no labelled image: needed are pairs NAME.webp (or .png, .jpg, .tif) and NAME.npz, "
                "or NAME_mask.png of tissue."
            )


def check_readable(*paths: Path | None) -> None:
    """See that files or folders are there.

    Raises:
        InputError: One is not.
    """
    from histocyte.core.errors import InputError

    for path in paths:
        if path is not None and not path.exists():
            raise InputError(f"There is no file or folder '{path}'.")


def are_of_tissue(samples: Sequence[Sample], spec: ModelSpec) -> bool:
    """Whether labels and model are of tissue; False where both are of cells.

    Raises:
        InputError: One is of tissue and the other of cells, or some of the folders are.
    """
    from histocyte.core.errors import InputError

    tissue = next((s.source for s in samples if s.areas), None)
    cells = next((s.source for s in samples if not s.areas), None)
    if tissue is not None and cells is not None:
        raise InputError(f"'{tissue}' has labels of tissue and '{cells}' of cells. Take one kind at a time.")
    if tissue is not None and not spec.of_tissue:
        raise InputError(
            f"'{tissue}' has labels of tissue, and '{spec.name}' finds cells. Models of tissue are those of the "
            "recipes tissue_fcn, tissue_unet, tissue_dpt and pathsegdiff."
        )
    if cells is not None and spec.of_tissue:
        raise InputError(f"'{cells}' has labels of cells, and '{spec.name}' tells tissue apart. Name a model of cells.")
    return tissue is not None


def parse_fold(text: str) -> tuple[int, int]:
    """Number and count of folds from "K/N".

    Raises:
        InputError: It is something else.

    >>> parse_fold("2/5")
    (2, 5)
    """
    import re

    from histocyte.core.errors import InputError

    found = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", text.strip())
    number, folds = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= number <= folds or folds < 2:
        raise InputError(f"--fold {text}: it is the number of a fold and how many there are, e.g. 2/5.")
    return number, folds


def say_unpaired(folders: Iterable[Path], listener: Listener) -> None:
    """A line for each folder that holds images without labels or the reverse, since they are passed over."""
    from histocyte.datasets.folder import unpaired

    for folder in folders:
        if alone := unpaired(folder):
            count = counted(len(alone), "file is", "files are")
            listener.say(
                f"In '{folder}' {count} an image without labels or labels without an image, e.g. '{alone[0].name}'."
            )


def say_notes(images: Iterable[_WithNotes], listener: Listener) -> None:
    """What whoever uses these images should know of their files."""
    notes = [note for image in images for note in image.notes]
    for note in notes[:_MOST_NOTES]:
        listener.say(note)
    if len(notes) > _MOST_NOTES:
        listener.say(f"{counted(len(notes) - _MOST_NOTES, 'more image has', 'more images have')} such notes.")
