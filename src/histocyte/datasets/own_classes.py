"""Labelled images with the classes of their own, or brought into a list of classes that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from histocyte.core.compared import ComparedClasses, compared_classes
from histocyte.core.errors import InputError
from histocyte.core.listener import SILENT, Listener
from histocyte.core.taxonomies import TAXONOMIES, asked_list, readings, taxonomy_of
from histocyte.core.taxonomy import NO_CLASSES, Taxonomy
from histocyte.datasets.arrays import ArrayStore
from histocyte.datasets.cards import DATASETS
from histocyte.datasets.class_list import CLASSES_FILE
from histocyte.datasets.folder import has_types, labelled_card, load_folder, refuse_twice
from histocyte.datasets.sample import Sample

__all__ = [
    "classes_to_learn",
    "load_for_taxonomy",
    "load_to_compare",
    "load_to_learn",
    "load_with_own_classes",
    "refuse_untaught",
]


_MOST_SUGGESTED = 3


def classes_to_learn(
    folders: Sequence[str | Path], *, classes: str | Sequence[str] | None = None, mpp: float | None = None
) -> Taxonomy | None:
    """The classes that a model of some folders is to tell apart: those asked for, or those that the folders share.

    Args:
        folders: Folders of labelled images.
        classes: A list known by name (`core.taxonomies`), names with commas between them, or names one by one.
        mpp: Resolution for folders that are not a known set.

    Returns:
        The list; None where no folder has classes and none are asked for.

    Raises:
        UnknownNameError: One word is asked for that is not a list.
        InputError: Folders with different lists and none asked for, or what `labelled_card` refuses.
    """
    if classes is not None:
        return asked_list(classes) if isinstance(classes, str) else taxonomy_of(classes)
    found: dict[str, Taxonomy] = {}
    for folder in folders:
        card = labelled_card(Path(folder), mpp=mpp)
        if card.taxonomy is not None:
            found[str(folder)] = card.taxonomy
    if len({taxonomy.names for taxonomy in found.values()}) > 1:
        lists = "; ".join(f"'{folder}' has {', '.join(taxonomy.names)}" for folder, taxonomy in found.items())
        if fitting := _read_from_all(list(found.values())):
            way = f"Say which a model is to tell apart: --classes {' or '.join(fitting)} can be read from all of them."
        else:
            way = (
                f"No list that is known can be read from all of them: name alike in each {CLASSES_FILE} what is the "
                "same, and say which classes a model is to tell apart (--classes a,b,c), or train on one of them."
            )
        raise InputError(f"The folders have different classes: {lists}. {way}")
    return next(iter(found.values()), None)


def _read_from_all(lists: Sequence[Taxonomy]) -> list[str]:
    """Names of the known lists that something of each can be read as, those first that leave the least unread."""
    unread = {
        name: sum(len(own) - len(readings(own, wanted)) for own in lists)
        for name, wanted in TAXONOMIES.items()
        if all(readings(own, wanted) for own in lists)
    }
    return sorted(unread, key=unread.__getitem__)[:_MOST_SUGGESTED]


def load_to_learn(
    folders: Sequence[str | Path], taxonomy: Taxonomy, *, mpp: float | None = None, listener: Listener = SILENT
) -> list[Sample]:
    """Samples to learn a list of classes from. Types of a folder without a list of its own are numbers of that list.

    Raises:
        InputError: A folder whose classes are all others, or whose types nobody names, or what `load_folder` refuses.
    """
    refuse_twice(folders)
    samples: list[Sample] = []
    store = ArrayStore()
    for folder in map(Path, folders):
        card = labelled_card(folder, mpp=mpp)
        if card.taxonomy is None and card.name not in DATASETS and has_types(folder):
            if not len(taxonomy):
                raise InputError(
                    f"'{folder}' has cells of different types and no list of classes. Write {CLASSES_FILE} into it, "
                    'e.g. {"1": "tumour", "2": "stroma"}, or pass their names: --classes tumour,stroma.'
                )
            card = replace(card, taxonomy=taxonomy)
        if len(taxonomy) and card.taxonomy is not None and not readings(card.taxonomy, taxonomy):
            raise InputError(
                f"'{folder}' has the classes {', '.join(card.classes)}, and none of them can be read as one of "
                f"{', '.join(taxonomy.names)}. Name them alike in its {CLASSES_FILE}, or leave the folder out."
            )
        samples += load_folder(folder, taxonomy=taxonomy, mpp=mpp, card=card, store=store, listener=listener)
    return samples


def refuse_untaught(samples: Sequence[Sample], taxonomy: Taxonomy) -> None:
    """A new model does not get classes of which no image says anything: it would invent them.

    Raises:
        InputError: That is so.
    """
    if len(taxonomy) and not any(s.one_of is not None or (s.types is not None and s.types.any()) for s in samples):
        raise InputError(
            f"No image has cells of the classes {', '.join(taxonomy.names)}. Add a folder that has, or name no classes "
            f"(--classes, {CLASSES_FILE}) for a model that finds and outlines cells."
        )


def load_with_own_classes(
    folders: Sequence[str | Path], *, names: Sequence[str] | None = None, mpp: float | None = None
) -> tuple[list[Sample], Taxonomy]:
    """Samples of folders that share one list of classes, and that list.

    Args:
        folders: As for `datasets.folder`.
        names: Names of the type codes from 1, in place of what the folders say.
        mpp: Resolution for folders that are not a known set.

    Raises:
        InputError: A folder without a class list or given twice, folders with different ones, or what `load_folder`
            refuses.
    """
    refuse_twice(folders)
    cards = [labelled_card(Path(folder), names=names, mpp=mpp) for folder in folders]
    for folder, card in zip(folders, cards, strict=True):
        if card.taxonomy is None:
            raise InputError(
                f'\'{folder}\' has no list of classes. Write {CLASSES_FILE} into it, e.g. {{"1": "tumour", "2": '
                '"stroma"}, or pass the names of the classes: --classes tumour,stroma.'
            )
        if card.external:
            raise InputError(f"'{folder}' is an external test set, never trained or selected on. Leave it out.")
    taxonomies = [card.taxonomy for card in cards if card.taxonomy is not None]
    for folder, taxonomy in zip(folders, taxonomies, strict=True):
        if taxonomy.names != taxonomies[0].names:
            raise InputError(
                f"'{folder}' has the classes {', '.join(taxonomy.names)}, and '{folders[0]}' has "
                f"{', '.join(taxonomies[0].names)}. One classifier needs one list: pass it with --classes."
            )
    first, store = taxonomies[0], ArrayStore()
    samples = [
        sample
        for folder, card in zip(folders, cards, strict=True)
        for sample in load_folder(folder, taxonomy=first, mpp=mpp, card=card, store=store)
    ]
    return samples, first


def load_to_compare(
    folders: Sequence[str | Path],
    found: Taxonomy,
    *,
    names: Sequence[str] | None = None,
    mpp: float | None = None,
) -> tuple[list[Sample], dict[str, ComparedClasses]]:
    """Samples to score a model on, in the classes that each folder and the model can both say.

    Args:
        folders: As for `datasets.folder`.
        found: The classes of the model.
        names: Names of the type codes from 1, in place of what the folders say.
        mpp: Resolution for folders that are not a known set.

    Returns:
        The samples, and by data set what is compared, of those that have classes; types are numbers of
        `ComparedClasses.names`, and None where nothing can be compared.

    Raises:
        InputError: A folder that is given twice, two of one name with different classes, or what `load_folder` refuses.
    """
    refuse_twice(folders)
    samples: list[Sample] = []
    compared: dict[str, ComparedClasses] = {}
    store = ArrayStore()
    for folder in folders:
        card = labelled_card(Path(folder), names=names, mpp=mpp)
        own = card.taxonomy or NO_CLASSES
        read = load_folder(folder, taxonomy=own, mpp=mpp, card=card, store=store)
        if card.taxonomy is not None and len(found):
            both = compared_classes(own, found)
            if compared.setdefault(card.name, both) != both:
                raise InputError(
                    f"Two folders are called '{card.name}' and have different classes. Rename one of them."
                )
            types = both.true_types()
            read = [replace(s, types=types[s.types] if both.classes and s.types is not None else None) for s in read]
        samples += read
    return samples, compared


def load_for_taxonomy(
    folders: Sequence[str | Path],
    taxonomy: Taxonomy,
    *,
    names: Sequence[str] | None = None,
    mpp: float | None = None,
    store: ArrayStore | None = None,
) -> list[Sample]:
    """Samples whose classes are brought into a taxonomy by name; those it does not know become unknown.

    Args:
        folders: As for `datasets.folder`.
        taxonomy: To bring them into.
        names: Names of the type codes from 1, in place of what the folders say.
        mpp: Resolution for folders that are not a known set.
        store: Holds images and label maps, of several calls together; one of their own where None.

    Raises:
        InputError: A folder whose classes are all others or that is given twice, or what `load_folder` refuses.
    """
    refuse_twice(folders)
    samples: list[Sample] = []
    store = store or ArrayStore()
    for folder in folders:
        card = labelled_card(Path(folder), names=names, mpp=mpp)
        if card.taxonomy is not None and not readings(card.taxonomy, taxonomy):
            raise InputError(
                f"'{folder}' has the classes {', '.join(card.classes)}, and these are wanted: "
                f"{', '.join(taxonomy.names)}. Name them alike in its {CLASSES_FILE}, or pass --classes."
            )
        samples += load_folder(folder, taxonomy=taxonomy, mpp=mpp, card=card, store=store)
    return samples
