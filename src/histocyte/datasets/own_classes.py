"""Labelled images with the class list of their own: that of a known set's card, or of classes.json in the folder.

classes.json names the type codes from 1, `{"1": "tumour", "2": "stroma"}` or `["tumour", "stroma"]`, or is a whole
taxonomy with colours (`Taxonomy.to_json`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from histocyte.core.errors import InputError
from histocyte.core.taxonomy import CONSEP, CellClass, Taxonomy
from histocyte.datasets.cards import DatasetCard
from histocyte.datasets.folder import card_for, load_folder, refuse_twice
from histocyte.datasets.sample import Sample

__all__ = ["classes_of", "load_for_taxonomy", "load_with_own_classes", "taxonomy_of_names"]

CLASSES_FILE = "classes.json"

COLOURS = (
    (233, 79, 55),
    (46, 196, 92),
    (45, 114, 217),
    (240, 200, 40),
    (160, 90, 200),
    (245, 140, 50),
    (40, 190, 200),
    (230, 100, 170),
    (130, 90, 60),
    (160, 160, 160),
)
"""Of classes whose file names none, in their order and then again."""


def taxonomy_of_names(name: str, classes: Sequence[str]) -> Taxonomy:
    """A taxonomy with colours for classes that have names alone.

    Raises:
        InputError: No name, an empty one, or one twice.
    """
    clean = [c.strip() for c in classes]
    if not clean or not all(clean) or len(set(clean)) < len(clean):
        raise InputError(f"'{', '.join(clean)}' is no list of classes: each needs a name of its own.")
    return Taxonomy(name, tuple(CellClass(c, COLOURS[i % len(COLOURS)]) for i, c in enumerate(clean)))


def load_with_own_classes(
    folders: Sequence[str | Path], *, names: Sequence[str] | None = None, mpp: float | None = None
) -> tuple[list[Sample], Taxonomy]:
    """Samples of folders that share one list of classes, and that list.

    Args:
        folders: As for `datasets.folder`.
        names: Of the type codes from 1, in place of what the folders say.
        mpp: Resolution for folders that are no known set.

    Raises:
        InputError: A folder without a class list or given twice, folders with different ones, or what `load_folder`
            refuses.
    """
    refuse_twice(folders)
    lists = [classes_of(Path(folder), names=names, mpp=mpp) for folder in folders]
    for folder, (card, taxonomy) in zip(folders, lists, strict=True):
        if taxonomy is None:
            raise InputError(
                f'\'{folder}\' has no list of classes. Write {CLASSES_FILE} into it, e.g. {{"1": "tumour", "2": '
                '"stroma"}, or pass the names of the classes: --classes tumour,stroma.'
            )
        if card.external:
            raise InputError(f"'{folder}' is an external test set, never trained or selected on. Leave it out.")
    taxonomies = [taxonomy for _, taxonomy in lists if taxonomy is not None]
    for folder, taxonomy in zip(folders, taxonomies, strict=True):
        if taxonomy.names != taxonomies[0].names:
            raise InputError(
                f"'{folder}' has the classes {', '.join(taxonomy.names)}, and '{folders[0]}' has "
                f"{', '.join(taxonomies[0].names)}. One classifier needs one list: pass it with --classes."
            )
    first = taxonomies[0]
    samples = [
        sample
        for folder, (card, _) in zip(folders, lists, strict=True)
        for sample in load_folder(folder, taxonomy=first, mpp=mpp, card=card)
    ]
    return samples, first


def load_for_taxonomy(
    folders: Sequence[str | Path],
    taxonomy: Taxonomy,
    *,
    names: Sequence[str] | None = None,
    mpp: float | None = None,
) -> list[Sample]:
    """Samples whose classes are brought into a taxonomy by name; those it does not know become unknown.

    Args:
        folders: As for `datasets.folder`.
        taxonomy: To bring them into.
        names: Of the type codes from 1, in place of what the folders say.
        mpp: Resolution for folders that are no known set.

    Raises:
        InputError: A folder whose classes are all others or that is given twice, or what `load_folder` refuses.
    """
    refuse_twice(folders)
    samples: list[Sample] = []
    for folder in folders:
        card, own = classes_of(Path(folder), names=names, mpp=mpp)
        shared = {} if own is None else {c: c for c in own.names if c in taxonomy.names}
        if own is not None and not shared:
            raise InputError(
                f"'{folder}' has the classes {', '.join(own.names)}, and these are to be scored: "
                f"{', '.join(taxonomy.names)}. Name them alike in its {CLASSES_FILE}, or pass --classes."
            )
        kept = {theirs: ours for theirs, ours in card.into.items() if ours in shared}
        samples += load_folder(folder, taxonomy=taxonomy, mpp=mpp, card=replace(card, into=kept))
    return samples


def classes_of(
    folder: Path, *, names: Sequence[str] | None = None, mpp: float | None = None
) -> tuple[DatasetCard, Taxonomy | None]:
    """The card of a folder, with the way from its type codes into its own classes, and these; None if it has none.

    Args:
        folder: As for `datasets.folder`.
        names: Of the type codes from 1, in place of what the folder says.
        mpp: Resolution of a folder that is no known set.

    Raises:
        InputError: No such folder, an unknown resolution, or a broken classes.json.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'. Pass a folder with NAME.webp/.png and NAME.npz pairs.")
    card = card_for(folder, mpp=mpp)
    if names is not None:
        taxonomy = taxonomy_of_names(card.name, names)
    elif card.into:
        return card, CONSEP
    elif (folder / CLASSES_FILE).is_file():
        taxonomy = _read_classes(folder / CLASSES_FILE, card.name)
    else:
        return card, None
    return replace(card, classes=taxonomy.names, into={c: c for c in taxonomy.names}), taxonomy


def _read_classes(path: Path, name: str) -> Taxonomy:
    form = '{"1": "tumour", "2": "stroma"}'
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read ({error}). Needed: {form}.") from error
    if isinstance(data, dict) and "classes" in data:
        return Taxonomy.from_json(data)
    if isinstance(data, dict):
        data = {code: text for code, text in data.items() if code != "0"}
        if sorted(data) == sorted(str(i) for i in range(1, len(data) + 1)):
            data = [data[str(i)] for i in range(1, len(data) + 1)]
    if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
        raise InputError(f"'{path}' is no list of classes. Needed: {form}, with the codes from 1 without a gap.")
    return taxonomy_of_names(name, data)
