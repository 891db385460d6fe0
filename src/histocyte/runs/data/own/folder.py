"""Our own plain form: NAME.webp beside NAME.npz, or beside NAME_mask.png for tissue; images.csv and classes.json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import taxonomy_of
from histocyte.core.taxonomy import Taxonomy
from histocyte.core.tissues import TISSUE_LISTS
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.class_list import CLASSES_FILE, read_class_list, stated_resolution, states_classes
from histocyte.datasets.image_table import ImageTable
from histocyte.datasets.label_arrays import label_array, read_dots, read_label_arrays
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.runs.data.own.asked import Asked
from histocyte.runs.data.sets.public_set import SetReader, labelled, listed
from histocyte.runs.data.sets.tissue import code_map
from histocyte.slides.picture import pictures_in

__all__ = ["folder"]

_LAYOUT = (
    "NAME.webp (.png, .jpg, .tif) beside NAME.npz with 'inst' and 'type', or with 'points'; or beside NAME_mask.png"
)


def folder(source: Path, asked: Asked) -> SetReader:
    """The reader of a folder of labelled images.

    Raises:
        InputError: No such folder, or one that does not say what is needed.
    """
    if not source.is_dir():
        raise InputError(f"There is no folder '{source}'. Expected: {_LAYOUT}.")
    masks = sorted(source.glob("*_mask.png"))
    return _tissue(source, asked, masks) if masks else _cells(source, asked)


def _cells(source: Path, asked: Asked) -> SetReader:
    known = DATASETS.get(source.resolve().name)
    path = source / CLASSES_FILE
    listed_classes = path.is_file() and states_classes(path)
    classes = asked.taxonomy or (None if known is None else known.taxonomy)
    if classes is None and listed_classes:
        classes = read_class_list(path, source.name)
    stated = stated_resolution(path) if path.is_file() else None
    card = replace(known, taxonomy=classes) if known is not None else asked.card(source, classes, mpp=stated)
    table = ImageTable.read(source)
    pairs = ((found[0], source / f"{name}.npz") for name, found in sorted(pictures_in(source).items()))
    entries = (
        Entry(p.stem, partial(_image, p, labels, card, table, source)) for p, labels in pairs if labels.is_file()
    )
    named = replace(card, name=asked.name) if asked.name else card
    return SetReader(
        source.name, named, _LAYOUT, lambda _: listed(entries, source, "a folder of labelled images", _LAYOUT)
    )


def _image(picture: Path, labels: Path, card: DatasetCard, table: ImageTable, source: Path) -> LabelledImage:
    name = picture.stem
    read = partial(labelled, picture, source, group=table.group(name) or card.group(name), tissue=table.tissue(name))
    diameter = table.diameter_px(name)
    mpp = card.mpp_by_image.get(name, table.mpps.get(name))
    if card.nucleus_um is not None and diameter is not None:
        mpp = card.nucleus_um / diameter
    if card.dots:
        points, dot_types = read_dots(labels)
        return read(points=points, classes=dot_types.astype(np.int64), mpp=mpp)
    inst, types = read_label_arrays(labels)
    found = label_array(inst, labels)
    if types is None or card.taxonomy is None:
        return read(instances=found.labels, mpp=mpp)
    highest = int(found.ids.max(initial=0))
    if types.ndim != 1 or types.dtype.kind not in "iuf" or len(types) <= highest:
        raise InputError(f"'{labels}': 'type' must have an entry for each of {highest} instances.")
    return read(instances=found.labels, classes=types[found.ids].astype(np.int64), mpp=mpp)


def _tissue(source: Path, asked: Asked, masks: list[Path]) -> SetReader:
    tissues = TISSUE_LISTS.get(source.name) if asked.classes is None else asked.taxonomy
    if tissues is None:
        tissues = _tissue_classes(source)
    instances = source.name == "glas"
    stated = stated_resolution(source / CLASSES_FILE) if (source / CLASSES_FILE).is_file() else None
    card = asked.card(source, None, mpp=stated)
    table = ImageTable.read(source)
    pictures = pictures_in(source)

    def entries() -> Iterator[Entry]:
        for mask in masks:
            name = mask.stem.removesuffix("_mask")
            if name in pictures:
                yield Entry(name, partial(_regions, pictures[name][0], mask, table, source, instances, len(tissues)))

    return SetReader(
        source.name, card, _LAYOUT, lambda _: listed(entries(), source, "a folder of tissue masks", _LAYOUT), tissues
    )


def _tissue_classes(source: Path) -> Taxonomy:
    path = source / CLASSES_FILE
    if not path.is_file():
        raise InputError(f"'{source}' has tissue masks and no {CLASSES_FILE} that names their codes. Pass --classes.")
    return taxonomy_of(read_class_list(path, source.name).names, name=source.name)


def _regions(
    picture: Path, mask: Path, table: ImageTable, source: Path, instances: bool, classes: int
) -> LabelledImage:
    codes = code_map(mask)
    name = picture.stem
    split = next((part for part in ("train", "testA", "testB", "test", "val") if name.startswith(part)), "")
    read = partial(labelled, picture, source, split=split, group=table.group(name) or "", tissue=table.tissue(name))
    if instances:
        tissue = (codes > 0).astype(np.uint8)
        return read(instances=codes, tissue_map=tissue)
    if codes.max(initial=0) > classes:
        raise InputError(f"'{mask}' has the code {codes.max()}, and there are {classes} classes.")
    return read(tissue_map=codes.astype(np.uint8))
