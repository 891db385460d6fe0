"""Folders of labelled images: NAME.webp (or .png, .jpg, .tif) beside NAME.npz with `inst` and, where known, `type`.

A set of dots has `points` (N, 2) and `type` (N,) in place of `inst`, one of tissue NAME_mask.png in place of NAME.npz
(`datasets.tissue_masks`). A table `images.csv` in the folder may state the
tissue and the patient of each image (`datasets.image_table`), classes.json its classes (`datasets.class_list`).

A folder with dataset.json holds a set in the uniform form (`datasets.shards`), and is read in the same way; the
official parts of such a set stand behind an @: `sets/pannuke@fold1,fold2`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.core.listener import SILENT, Listener
from histocyte.core.taxonomies import readings, taxonomy_of
from histocyte.core.taxonomy import NO_CLASSES, Taxonomy
from histocyte.datasets.arrays import ArrayStore
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.class_list import (
    CLASSES_FILE,
    read_class_list,
    stated_resolution,
    states_classes,
)
from histocyte.datasets.dots import painted_dots
from histocyte.datasets.image_table import ImageTable
from histocyte.datasets.label_arrays import label_array, read_dots, read_label_arrays
from histocyte.datasets.labelled_image import LabelledImage
from histocyte.datasets.sample import Sample
from histocyte.datasets.shards.describe import is_uniform, read_description, shard_paths
from histocyte.datasets.shards.read import read_shards, split_of, splits_of
from histocyte.datasets.tissue_masks import codes_of, ignored_codes, is_mask, labelled_name, read_mask, stated_areas
from histocyte.files.foreign import broken_link
from histocyte.slides.picture import pictures_in, read_picture

__all__ = [
    "card_for",
    "check_codes",
    "has_types",
    "image_resolution",
    "is_labelled",
    "labelled_card",
    "labelled_pairs",
    "load_folder",
    "refuse_external",
    "refuse_twice",
    "resolution_in",
    "unpaired",
]

MOST_IDS = 1 << 24
"""Tables are looked up by id; more would be an id gone wrong, and fill the memory."""


_CENTRES: Mapping[str, Literal["", "centres", "some centres"]] = {"": "", "all": "centres", "some": "some centres"}


def card_for(folder: Path, *, mpp: float | None = None, option: str = "--mpp") -> DatasetCard:
    """The card of a known set by the folder's name, or a plain one for somebody's own data.

    Args:
        folder: Where the images lie.
        mpp: Resolution for folders that are not a known set and do not state it (classes.json, images.csv).
        option: Option of the command line that states it, for messages.

    Raises:
        InputError: An unknown set and no resolution given, or an impossible one.
    """
    if mpp is not None:
        check_mpp(mpp, what=f"the images in '{folder}'", option=option)
    folder, splits = split_of(folder)
    if is_uniform(folder):
        splits_of(folder, splits)
        return read_description(folder).card
    known = DATASETS.get(folder.resolve().name)
    if known is not None and math.isnan(known.mpp) and mpp is None:
        raise InputError(f"Nobody states the resolution of '{known.name}'. Pass it: {option} 0.5.")
    if known is not None:
        return replace(known, mpp=mpp) if math.isnan(known.mpp) and mpp is not None else known
    path = folder / CLASSES_FILE
    one = stated_resolution(path) if path.is_file() else None
    each = ImageTable.read(folder).mpps if folder.is_dir() else {}
    usual = mpp if one is None else one
    if usual is None and each and all(name in each for name in pictures_in(folder)):
        usual = next(iter(each.values()))
    if usual is None:
        raise InputError(
            f"'{folder}' is none of the known data sets ({', '.join(sorted(DATASETS))}), so its resolution is not "
            f"known. Pass it: {option} 0.25. Or state it in the folder: a column 'mpp' in images.csv, or "
            f'{{"mpp": 0.25}} in {CLASSES_FILE}.'
        )
    name = folder.resolve().name
    card = DatasetCard(name, usual, "not stated", "own data", lambda name: name, mpp_by_image=each)
    areas = stated_areas(folder) if folder.is_dir() else ""
    return replace(card, areas=areas, ignored=ignored_codes(folder)) if areas else card


def image_resolution(path: Path) -> float | None:
    """The resolution of an image in a folder that is known by name or states it, µm/px; None where neither is so.

    Raises:
        InputError: A broken classes.json or images.csv.
    """
    folder = path.parent
    known = DATASETS.get(folder.resolve().name)
    if known is not None:
        return known.mpp_by_image.get(path.stem, known.mpp)
    stated = folder / CLASSES_FILE
    one = stated_resolution(stated) if stated.is_file() else None
    return ImageTable.read(folder).mpps.get(path.stem, one)


def labelled_card(
    folder: Path, *, names: Sequence[str] | None = None, mpp: float | None = None, option: str = "--mpp"
) -> DatasetCard:
    """The card of a folder of labelled images, with its classes: those of a known set, or of its classes.json.

    Args:
        folder: As for `load_folder`.
        names: Names of the type codes from 1, in place of what the folder says.
        mpp: Resolution of a folder that is no known set.
        option: Option of the command line that states it, for messages.

    Raises:
        InputError: No such folder, an unknown resolution, or a broken classes.json.
    """
    _check_folder(folder)
    card = card_for(folder, mpp=mpp, option=option)
    if names is not None:
        return replace(card, taxonomy=taxonomy_of(names, name=card.name))
    path = folder / CLASSES_FILE
    if card.taxonomy is None and path.is_file() and states_classes(path):
        return replace(card, taxonomy=read_class_list(folder / CLASSES_FILE, card.name))
    return card


def load_folder(
    folder: str | Path,
    *,
    taxonomy: Taxonomy | None = None,
    mpp: float | None = None,
    card: DatasetCard | None = None,
    store: ArrayStore | None = None,
    listener: Listener = SILENT,
) -> list[Sample]:
    """Read every labelled image of a folder, sorted by name.

    Args:
        folder: Where NAME.webp and NAME.npz lie; `inst` is (H, W) integer, `type` (N + 1,) by instance id.
        taxonomy: Classes to read the set's own as, which stay where None; a set without classes gives samples without
            types.
        mpp: Resolution for folders that are not a known set.
        card: What is known of the set; `labelled_card` where None.
        store: Holds images and label maps, of several folders together; one of their own where None.
        listener: Told how many are read.

    Raises:
        InputError: No such folder, no labelled image in it, a label file that does not fit its image, or a broken
            images.csv.
    """
    folder = Path(folder)
    _check_folder(folder)
    card = card or labelled_card(folder, mpp=mpp)
    store, wanted = store or ArrayStore(), taxonomy or card.taxonomy or NO_CLASSES
    plain, splits = split_of(folder)
    if is_uniform(plain):
        return _load_shards(plain, splits, card, wanted, store, listener)
    table = ImageTable.read(folder)
    pairs, samples = list(labelled_pairs(folder)), []
    with listener.task(f"reading {card.name}", len(pairs), unit="images") as task:
        for pair in pairs:
            samples.append(_load(pair, card, wanted, table, store))
            task.advance()
    if not samples:
        raise InputError(
            f"'{folder}' holds no labelled image: needed are pairs NAME.webp (or .png, .jpg, .tif) and NAME.npz."
        )
    return samples


def refuse_external(folders: Sequence[str | Path]) -> None:
    """An external test set is never trained or selected on.

    Raises:
        InputError: One is among the folders.
    """
    for folder in folders:
        plain, _ = split_of(Path(folder))
        card = read_description(plain).card if is_uniform(plain) else DATASETS.get(plain.resolve().name)
        if card is not None and card.external:
            raise InputError(f"'{folder}' is an external test set, never trained or selected on. Leave it out.")


def refuse_twice(folders: Sequence[str | Path]) -> None:
    """A folder that is given twice would count its images twice.

    Raises:
        InputError: That is so.
    """
    seen: set[Path] = set()
    for folder in folders:
        if (place := Path(folder).resolve()) in seen:
            raise InputError(f"'{folder}' is given twice. Name each folder once.")
        seen.add(place)


def _check_folder(folder: Path) -> None:
    plain, splits = split_of(folder)
    if not plain.is_dir():
        raise InputError(
            f"There is no folder '{plain}'. Pass a folder with NAME.webp/.png and NAME.npz pairs, or one that "
            "`histocyte data import` made."
        )
    if splits and not is_uniform(plain):
        raise InputError(
            f"'{plain}' has no official parts, and '@{','.join(splits)}' asks for some. Only sets that `histocyte data "
            "import` made have them."
        )


def labelled_pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Images with their label files, sorted by the names of these."""
    pictures = pictures_in(folder)
    for labels in _labels(folder):
        if labelled_name(labels) in pictures:
            yield pictures[labelled_name(labels)][0], labels


def _labels(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.suffix.lower() == ".npz"]
    found = found or [path for path in folder.iterdir() if is_mask(path)]
    return sorted(path for path in found if path.is_file() or broken_link(path))


def is_labelled(folder: Path) -> bool:
    """Whether a folder holds an image with labels."""
    if is_uniform(split_of(folder)[0]):
        return bool(shard_paths(split_of(folder)[0]))
    return next(labelled_pairs(folder), None) is not None


def has_types(folder: Path) -> bool:
    """Whether label files of a folder tell types of cells apart; the first that holds a cell decides.

    Raises:
        InputError: A label file cannot be read.
    """
    if is_uniform(split_of(folder)[0]):
        return read_description(split_of(folder)[0]).card.taxonomy is not None
    for _, labels in labelled_pairs(folder):
        if is_mask(labels):
            return True
        types = read_label_arrays(labels)[1]
        if types is not None and types.size > 1:
            return bool((types[1:] != types[1]).any() or types[1] > 0)
    return False


def unpaired(folder: str | Path) -> list[Path]:
    """Images without labels and labels without an image, which `load_folder` passes over, sorted by name."""
    folder = Path(folder)
    if is_uniform(split_of(folder)[0]):
        return []
    pairs = {path for pair in labelled_pairs(folder) for path in pair}
    pictures = [path for paths in pictures_in(folder).values() for path in paths]
    return sorted({*pictures, *_labels(folder)} - pairs)


def _load(
    pair: tuple[Path, Path], card: DatasetCard, taxonomy: Taxonomy, table: ImageTable, store: ArrayStore
) -> Sample:
    image_path, label_path = pair
    picture = read_picture(image_path)
    name = image_path.stem
    mpp, mpp_estimated = resolution_in(name, card, table)
    ignored: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    own: NDArray[Any] | None
    if card.dots:
        points, own = read_dots(label_path)
        instances, ignored = painted_dots(points, picture.pixels.shape[:2], mpp=mpp, every=card.dots == "all")
        own = np.concatenate([np.zeros(1, np.int64), own.astype(np.int64)])
    elif is_mask(label_path):
        instances, own = read_mask(label_path, picture.pixels.shape[:2], card.areas)
    else:
        inst, own = read_label_arrays(label_path)
        found = label_array(inst, label_path)
        if inst.shape != picture.pixels.shape[:2]:
            there = " ".join((f"its image {picture.pixels.shape[:2]}; they must agree.", *picture.notes))
            raise InputError(f"'{label_path}' is {inst.shape}, {there}")
        highest = int(found.ids.max(initial=0))
        if highest > MOST_IDS:
            raise InputError(f"'{label_path}' has ids up to {highest}. Renumber its cells: at most {MOST_IDS:,}.")
        instances, notes = np.append(0, found.ids).astype(np.int32)[found.labels], found.notes
    return _sample(
        name,
        picture.pixels,
        instances,
        own,
        ignored,
        card,
        taxonomy,
        store,
        where=label_path,
        mpp=(mpp, mpp_estimated),
        group=table.group(name) or card.group(name),
        tissue=table.tissue(name),
        notes=(*picture.notes, *notes),
    )


def _load_shards(
    folder: Path, splits: tuple[str, ...], card: DatasetCard, taxonomy: Taxonomy, store: ArrayStore, listener: Listener
) -> list[Sample]:
    description = read_description(folder)
    total = sum(description.by_split[part] for part in splits) if splits else description.images
    samples = []
    with listener.task(f"reading {card.name}", total, unit="images") as task:
        for name, image in read_shards(folder, splits=splits):
            samples.append(_of_row(name, image, card, taxonomy, store, folder))
            task.advance()
    if not samples:
        raise InputError(f"'{folder}' holds no image{f' of {splits[0]}' if splits else ''}. Import the set again.")
    return samples


def _of_row(
    name: str, image: LabelledImage, card: DatasetCard, taxonomy: Taxonomy, store: ArrayStore, folder: Path
) -> Sample:
    mpp = image.mpp if image.mpp is not None else card.mpp
    check_mpp(mpp, what=f"'{name}' of '{folder}'")
    own = None if image.classes is None else np.concatenate([np.zeros(1, np.int64), image.classes])
    instances, ignored = image.instances, image.ignored
    if card.areas and image.tissue_map is not None:
        mask = image.tissue_map if card.areas == "classes" or instances is None else instances
        instances, own = mask.astype(np.int32), codes_of(mask, card.areas)
    if image.points is not None:
        instances, ignored = painted_dots(image.points, image.pixels.shape[:2], mpp=mpp, every=card.dots == "all")
    if instances is None:
        instances = np.zeros(image.pixels.shape[:2], np.int32)
    return _sample(
        name,
        image.pixels,
        instances,
        own,
        ignored,
        card,
        taxonomy,
        store,
        where=folder / name,
        mpp=(mpp, card.nucleus_um is not None and image.mpp is not None),
        group=image.group or name,
        tissue=image.tissue,
    )


def _sample(
    name: str,
    pixels: NDArray[np.uint8],
    instances: NDArray[np.int32],
    own: NDArray[Any] | None,
    ignored: NDArray[np.bool_] | None,
    card: DatasetCard,
    taxonomy: Taxonomy,
    store: ArrayStore,
    *,
    where: Path,
    mpp: tuple[float, bool],
    group: str,
    tissue: str,
    notes: tuple[str, ...] = (),
) -> Sample:
    """An image with its own classes read as those of a taxonomy; `mpp` with whether it is an estimate."""
    codes = _codes(own, instances, card, where)
    if codes is not None and card.ignored:
        unclear = np.isin(codes, card.ignored)
        unclear_px = unclear[instances]
        ignored = unclear_px if ignored is None else ignored | unclear_px
        instances, codes = np.where(unclear_px, 0, instances).astype(np.int32), np.where(unclear, 0, codes)
    types, one_of = (None, None) if codes is None else _read_as(codes, card, taxonomy)
    return Sample(
        name=name,
        image=store.keep(pixels),
        instances=store.keep(instances),
        types=types,
        one_of=one_of,
        ignored=None if ignored is None else store.keep(ignored),
        mpp=mpp[0],
        mpp_estimated=mpp[1],
        source=card.name,
        group=group,
        separable=card.separable and not card.dots and card.areas != "classes",
        areas=bool(card.areas),
        dots=bool(card.dots),
        centres=_CENTRES[card.dots or card.centres],
        tissue=tissue,
        notes=notes,
    )


def resolution_in(name: str, card: DatasetCard, table: ImageTable) -> tuple[float, bool]:
    """µm/px of an image of a set, and whether it is an estimate from the diameter of its nuclei."""
    diameter = table.diameter_px(name)
    if card.nucleus_um is not None and diameter is not None:
        return card.nucleus_um / diameter, True
    return card.mpp_by_image.get(name, card.mpp), False


def _codes(
    own: NDArray[Any] | None, instances: NDArray[np.int32], card: DatasetCard, path: Path
) -> NDArray[np.int64] | None:
    """(N + 1,) type codes of a set that has classes, checked."""
    if own is None or card.taxonomy is None:
        return None
    if own.dtype.kind == "f" and np.isfinite(own).all() and (own == np.rint(own)).all():
        own = own.astype(np.int64)
    most = max((len(card.classes), *card.ignored))
    fits = own.ndim == 1 and own.dtype.kind in "iu" and len(own) > instances.max()
    if fits and card.areas == "classes":
        check_codes(own, card, path)
    if not fits or _strange(own, card).size:
        raise InputError(f"'{path}': 'type' must have an entry for each of {instances.max()} instances, in 0–{most}.")
    return own.astype(np.int64)


def check_codes(mask: NDArray[Any], card: DatasetCard, path: Path) -> None:
    """See that the codes of a mask of tissue are those of its set.

    Raises:
        InputError: Another one is among them.
    """
    strange = _strange(mask, card)
    if strange.size:
        raise InputError(
            f"'{path}' holds the code {int(strange.max())}, and the classes are {', '.join(card.classes)} (1 to "
            f'{len(card.classes)}). Name it in {CLASSES_FILE}, or list it there under "ignored".'
        )


def _strange(codes: NDArray[Any], card: DatasetCard) -> NDArray[Any]:
    """Codes that are neither 0 for unknown, nor a class of the set, nor ignored."""
    return codes[~np.isin(codes, (*range(len(card.classes) + 1), *card.ignored))]


def _read_as(
    codes: NDArray[np.int64], card: DatasetCard, taxonomy: Taxonomy
) -> tuple[NDArray[np.uint8] | None, NDArray[np.bool_] | None]:
    """Types in a taxonomy, and what each instance may be where some may be several things; None, None if none fits."""
    assert card.taxonomy is not None
    may_be = readings(card.taxonomy, taxonomy)
    if not may_be:
        return None, None
    table = np.zeros((len(card.classes) + 1, len(taxonomy)), bool)
    for name, classes in may_be.items():
        table[card.classes.index(name) + 1, [taxonomy.names.index(c) for c in classes]] = True
    single = np.where(table.sum(1) == 1, table.argmax(1) + 1, 0).astype(np.uint8)
    return single[codes], table[codes] if (table.sum(1) > 1).any() else None
