"""Folders of labelled images: NAME.webp (or .png, .jpg, .tif) beside NAME.npz with `inst` and, where known, `type`.

A table `images.csv` in the folder may state the tissue and the patient of each image (`datasets.image_table`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.geometry import check_mpp
from histocyte.core.taxonomy import CONSEP, Taxonomy
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.image_table import ImageTable
from histocyte.datasets.label_arrays import label_array, read_label_arrays
from histocyte.datasets.sample import Sample
from histocyte.files.foreign import broken_link
from histocyte.slides.picture import pictures_in, read_picture

__all__ = ["card_for", "load_folder", "load_folders", "refuse_external", "refuse_twice", "unpaired"]

MOST_IDS = 1 << 24
"""Tables are looked up by id; more would be an id gone wrong, and fill the memory."""


def card_for(folder: Path, *, mpp: float | None = None, option: str = "--mpp") -> DatasetCard:
    """The card of a known set by the folder's name, or a plain one for somebody's own data.

    Args:
        folder: Where the images lie.
        mpp: Resolution for folders that are no known set.
        option: Of the command line that states it, for messages.

    Raises:
        InputError: An unknown set and no resolution given, or an impossible one.
    """
    if mpp is not None:
        check_mpp(mpp, what=f"the images in '{folder}'", option=option)
    known = DATASETS.get(folder.resolve().name)
    if known is not None:
        return known
    if mpp is None:
        raise InputError(
            f"'{folder}' is none of the known data sets ({', '.join(sorted(DATASETS))}), so its resolution is not "
            f"known. Pass it: {option} 0.25."
        )
    return DatasetCard(folder.resolve().name, mpp, "not stated", "own data", lambda name: name)


def load_folder(
    folder: str | Path, *, taxonomy: Taxonomy = CONSEP, mpp: float | None = None, card: DatasetCard | None = None
) -> list[Sample]:
    """Read every labelled image of a folder, sorted by name.

    Args:
        folder: Where NAME.webp and NAME.npz lie; `inst` is (H, W) integer, `type` (N + 1,) by instance id.
        taxonomy: Classes to map the set's own into; a set without classes gives samples without types.
        mpp: Resolution for folders that are no known set.
        card: What is known of the set; by the folder's name where None.

    Raises:
        InputError: No such folder, no labelled image in it, a label file that does not fit its image, or a broken
            images.csv.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'. Pass a folder with NAME.webp/.png and NAME.npz pairs.")
    card = card or card_for(folder, mpp=mpp)
    table = ImageTable.read(folder)
    samples = [_load(path, card, taxonomy, table) for path in _pairs(folder)]
    if not samples:
        raise InputError(
            f"'{folder}' holds no labelled image: needed are pairs NAME.webp (or .png, .jpg, .tif) and NAME.npz."
        )
    return samples


def load_folders(
    folders: Sequence[str | Path], *, taxonomy: Taxonomy = CONSEP, mpp: float | None = None
) -> list[Sample]:
    """`load_folder` of each, one after the other.

    Raises:
        InputError: A folder is given twice, or what `load_folder` refuses.
    """
    refuse_twice(folders)
    return [sample for folder in folders for sample in load_folder(folder, taxonomy=taxonomy, mpp=mpp)]


def refuse_external(folders: Sequence[str | Path]) -> None:
    """An external test set is never trained or selected on.

    Raises:
        InputError: One is among the folders.
    """
    for folder in folders:
        card = DATASETS.get(Path(folder).resolve().name)
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


def _pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    pictures = pictures_in(folder)
    for labels in _labels(folder):
        if labels.stem in pictures:
            yield pictures[labels.stem][0], labels


def _labels(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() == ".npz")
    return sorted(path for path in found if path.is_file() or broken_link(path))


def unpaired(folder: str | Path) -> list[Path]:
    """Images without labels and labels without an image, which `load_folder` passes over, sorted by name."""
    folder = Path(folder)
    pairs = {path for pair in _pairs(folder) for path in pair}
    pictures = [path for paths in pictures_in(folder).values() for path in paths]
    return sorted({*pictures, *_labels(folder)} - pairs)


def _load(pair: tuple[Path, Path], card: DatasetCard, taxonomy: Taxonomy, table: ImageTable) -> Sample:
    image_path, label_path = pair
    picture = read_picture(image_path)
    inst, own_types = read_label_arrays(label_path)
    found = label_array(inst, label_path)
    if inst.shape != picture.pixels.shape[:2]:
        there = " ".join((f"its image {picture.pixels.shape[:2]}; they must agree.", *picture.notes))
        raise InputError(f"'{label_path}' is {inst.shape}, {there}")
    highest = int(found.ids.max(initial=0))
    if highest > MOST_IDS:
        raise InputError(f"'{label_path}' has ids up to {highest}. Number its cells anew: at most {MOST_IDS:,}.")
    instances = np.append(0, found.ids).astype(np.int32)[found.labels]
    name = image_path.stem
    return Sample(
        name=name,
        image=picture.pixels,
        instances=instances,
        types=_types(own_types, instances, card, taxonomy, label_path),
        mpp=card.mpp_by_image.get(name, card.mpp),
        source=card.name,
        group=table.group(name) or card.group(name),
        separable=card.separable,
        tissue=table.tissue(name),
        notes=(*picture.notes, *found.notes),
    )


def _types(
    own: NDArray[Any] | None, instances: NDArray[np.int32], card: DatasetCard, taxonomy: Taxonomy, path: Path
) -> NDArray[np.uint8] | None:
    if own is None or not card.into:
        return None
    if own.dtype.kind == "f" and np.isfinite(own).all() and (own == np.rint(own)).all():
        own = own.astype(np.int64)
    fits = own.ndim == 1 and own.dtype.kind in "iu" and len(own) > instances.max()
    if not fits or own.min() < 0 or own.max() > len(card.classes):
        raise InputError(
            f"'{path}': 'type' must have an entry for each of {instances.max()} instances, in 0–{len(card.classes)}."
        )
    return taxonomy.lookup_from(card.classes, card.into)[own]
