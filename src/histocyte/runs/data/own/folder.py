"""Our own plain form: NAME.webp beside NAME.npz, or beside NAME_mask.png for tissue; images.csv and classes.json."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from histocyte.core.errors import InputError
from histocyte.datasets.cards import DatasetCard
from histocyte.datasets.folder import check_codes, labelled_card, labelled_pairs, resolution_in
from histocyte.datasets.image_table import ImageTable
from histocyte.datasets.label_arrays import label_array, read_dots, read_label_arrays
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.datasets.tissue_masks import code_map, is_mask
from histocyte.runs.data.own.asked import Asked
from histocyte.runs.data.sets.public_set import SetReader, labelled, listed

__all__ = ["folder"]

_LAYOUT = (
    "NAME.webp (.png, .jpg, .tif) beside NAME.npz with 'inst' and 'type', or with 'points'; or beside NAME_mask.png"
)


def folder(source: Path, asked: Asked) -> SetReader:
    """The reader of a folder of labelled images: what it says, and what is asked where it says nothing.

    Raises:
        InputError: No such folder, or one that does not say what is needed.
    """
    pairs = listed(labelled_pairs(source) if source.is_dir() else (), source, "a folder of labelled images", _LAYOUT)
    card = labelled_card(source, mpp=asked.mpp)
    if asked.taxonomy is not None:
        card = replace(card, taxonomy=asked.taxonomy)
    if asked.licence:
        card = replace(card, licence=asked.licence)
    table = ImageTable.read(source)
    entries = [Entry(picture.stem, partial(_image, picture, labels, card, table, source)) for picture, labels in pairs]
    return SetReader(source.name, card, _LAYOUT, lambda _: entries)


def _image(picture: Path, labels: Path, card: DatasetCard, table: ImageTable, source: Path) -> LabelledImage:
    name = picture.stem
    mpp, estimated = resolution_in(name, card, table)
    read = partial(
        labelled,
        picture,
        source,
        group=table.group(name) or card.group(name),
        tissue=table.tissue(name),
        mpp=mpp if estimated or mpp != card.mpp else None,
    )
    if is_mask(labels):
        codes = code_map(labels)
        if card.areas == "objects":
            return read(instances=codes, tissue_map=(codes > 0).astype(np.uint8))
        check_codes(codes, card, labels)
        return read(tissue_map=codes.astype(np.uint8))
    if card.dots:
        points, dot_types = read_dots(labels)
        return read(points=points, classes=dot_types.astype(np.int64))
    inst, types = read_label_arrays(labels)
    found = label_array(inst, labels)
    if types is None or card.taxonomy is None:
        return read(instances=found.labels)
    highest = int(found.ids.max(initial=0))
    if types.ndim != 1 or types.dtype.kind not in "iuf" or len(types) <= highest:
        raise InputError(f"'{labels}': 'type' must have an entry for each of {highest} instances.")
    return read(instances=found.labels, classes=types[found.ids].astype(np.int64))
