"""PanNuke: 256 × 256 px of 19 organs in three folds (Gamper et al. 2020, arXiv 2003.10778)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import PANNUKE as CLASSES
from histocyte.core.taxonomies import plain_tissue
from histocyte.datasets.cards import DatasetCard
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.files.foreign import foreign_parser
from histocyte.runs.data.sets.public_set import SetReader, files_in, labelled, listed

__all__ = ["PANNUKE", "instances_of"]

_LAYOUT = (
    "images.npy, masks.npy and types.npy of each fold ('Fold 1/images/fold1/images.npy', …), or images/NAME.png beside "
    "masks/NAME.npy"
)


def instances_of(channels: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Instances (H, W) and their classes from (H, W, 5 or 6) ids, a channel for each class and one of background.

    Channels overlap at some pixels: the later class wins, as in the programs that published figures are of. An id in
    two pieces stays one instance.
    """
    labels = np.zeros(channels.shape[:2], np.int32)
    classes: list[int] = []
    for code in range(1, len(CLASSES) + 1):
        layer = channels[..., code - 1]
        for value in np.unique(layer[layer > 0]):
            labels[layer == value] = len(classes) + 1
            classes.append(code)
    present = np.unique(labels)
    present = present[present > 0]
    return labels, np.array(classes, np.int64)[present - 1]


def _entries(source: Path) -> list[Entry]:
    arrays = [p for p in files_in(source, (".npy",)) if p.name == "images.npy"]
    found = [entry for path in arrays for entry in _fold(path, source)] if arrays else list(_tiles(source))
    return listed(found, source, "PanNuke", _LAYOUT)


def _fold(images: Path, source: Path) -> Iterator[Entry]:
    number = re.search(r"fold[ _]?([0-9])", images.relative_to(source.parent).as_posix(), re.IGNORECASE)
    fold = f"fold{number[1]}" if number else ""
    parts = images.parts
    masks = next(
        (
            path
            for path in (
                images.with_name("masks.npy"),
                Path(*("masks" if p == "images" else p for p in parts[:-1]), "masks.npy"),
            )
            if path.is_file()
        ),
        None,
    )
    if masks is None:
        raise InputError(f"'{images}' lacks its masks.npy, beside it or in a folder 'masks'. Expected: {_LAYOUT}.")
    types = images.with_name("types.npy")
    with foreign_parser(lambda why: InputError(f"'{images.parent}' cannot be read as arrays of PanNuke ({why}).")):
        pixels, channels = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (images, masks))
        tissues = np.load(types, allow_pickle=False) if types.is_file() else None
    if pixels.ndim != 4 or channels.shape[:3] != pixels.shape[:3] or channels.shape[3] not in (5, 6):
        raise InputError(
            f"'{images}' is {pixels.shape} and '{masks}' {channels.shape}; expected are (N, 256, 256, 3) and "
            "(N, 256, 256, 6)."
        )
    if tissues is not None and tissues.shape != (len(pixels),):
        raise InputError(f"'{types}' has tissues {tissues.shape} for {len(pixels):,} images.")
    place = images.relative_to(source).as_posix()
    for i in range(len(pixels)):
        tissue = "" if tissues is None else plain_tissue(str(tissues[i]))
        yield Entry(
            f"{fold or 'image'}_{i:04d}", partial(_of_arrays, pixels, channels, i, tissue, fold, f"{place}[{i}]")
        )


def _of_arrays(
    pixels: NDArray[Any], channels: NDArray[Any], i: int, tissue: str, split: str, place: str
) -> LabelledImage:
    with foreign_parser(lambda why: InputError(f"'{place}' cannot be read ({why}).")):
        image = np.ascontiguousarray(np.clip(np.rint(pixels[i]), 0, 255).astype(np.uint8))
        labels, classes = instances_of(np.asarray(channels[i]))
    return LabelledImage(image, labels, classes, tissue=tissue, split=split, source=place)


def _tiles(source: Path) -> Iterator[Entry]:
    for picture in files_in(source, (".png",)):
        masks = picture.parent.parent / "masks" / f"{picture.stem}.npy"
        if picture.parent.name != "images" or not masks.is_file():
            continue
        number = re.search(r"fold[ _]?([0-9])", picture.as_posix(), re.IGNORECASE)
        yield Entry(picture.stem, partial(_of_tile, picture, masks, source, f"fold{number[1]}" if number else ""))


def _of_tile(picture: Path, masks: Path, source: Path, split: str) -> LabelledImage:
    with foreign_parser(lambda why: InputError(f"'{masks}' cannot be read as an array of PanNuke ({why}).")):
        channels = np.load(masks, allow_pickle=False)
    if channels.ndim != 3 or channels.shape[2] not in (5, 6):
        raise InputError(
            f"'{masks}' is {channels.shape}; expected is (256, 256, 6), ids of five classes and background."
        )
    labels, classes = instances_of(channels)
    return labelled(picture, source, instances=labels, classes=classes, split=split)


PANNUKE = SetReader(
    "PanNuke",
    DatasetCard(
        *("pannuke", 0.25, "CC BY-NC-SA 4.0", "Gamper et al., arXiv:2003.10778, 2020", lambda name: name, CLASSES)
    ),
    _LAYOUT,
    _entries,
)
