"""Images with files of cells beside them or in a folder of labels: label maps, GeoJSON of QuPath, .mat, JSON."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import known_list, taxonomy_of
from histocyte.core.taxonomy import Taxonomy
from histocyte.datasets.class_list import CLASSES_FILE
from histocyte.datasets.image_table import ImageTable
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.formats.foreign.open import FORMATS, find_cells, open_cells
from histocyte.runs.data.own.asked import Asked
from histocyte.runs.data.sets.public_set import SetReader, cells_of, files_in, labelled, listed
from histocyte.slides.picture import PICTURE_SUFFIXES, picture_size

__all__ = ["labels"]

_LAYOUT = f"images/NAME.png and labels/NAME.*, or both in one folder; labels are {FORMATS}"
_IMAGES, _LABELS = ("images", "image", "img", "imgs", "tiles"), ("labels", "label", "masks", "mask", "annotations")


def labels(source: Path, asked: Asked) -> SetReader:
    """The reader of images with files of cells.

    Classes are those of --classes, else the names that the files have.

    Raises:
        InputError: No such folder, or one that does not say what is needed.
    """
    if not source.is_dir():
        raise InputError(f"There is no folder '{source}'. Expected: {_LAYOUT}.")
    pictures, files = _pairs(source)
    both = [(pictures[name], files[name]) for name in sorted(pictures) if name in files]
    taxonomy = asked.taxonomy or _own_classes([path for _, path in both], source)
    table = ImageTable.read(source)
    entries = (Entry(p.stem, partial(_image, p, path, taxonomy, table, source)) for p, path in both)
    return SetReader(
        source.name,
        asked.card(source, taxonomy),
        _LAYOUT,
        lambda _: listed(entries, source, "a folder of images with files of cells", _LAYOUT),
    )


def _pairs(source: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and label files by name: of two folders where there are such, else of one."""
    there = {p.name.lower(): p for p in source.iterdir() if p.is_dir()}
    images = next((there[name] for name in _IMAGES if name in there), source)
    cells = next((there[name] for name in _LABELS if name in there), source)
    pictures = {
        p.stem: p for p in reversed(files_in(images, PICTURE_SUFFIXES)) if cells == source or cells not in p.parents
    }
    found = find_cells(cells)
    if images == cells:  # a TIFF or PNG with a label file beside it is the image
        found = {name: path for name, path in found.items() if path != pictures.get(name)}
    return pictures, found


def _own_classes(files: list[Path], source: Path) -> Taxonomy | None:
    """The names of classes that files have, in the order in which they come; a known list where it is one."""
    names: dict[str, None] = {}
    coded = False
    for path in files:
        cells = open_cells(path)
        names |= dict.fromkeys(cells.class_names[code] for code in sorted(cells.class_names))
        coded |= bool((cells.types > 0).any()) and not cells.class_names
    if coded and not names:
        raise InputError(
            f"Files in '{source}' have class codes that nobody names. Name them in their order with --classes, or in a "
            f"{CLASSES_FILE} beside them."
        )
    return known_list(list(names)) or taxonomy_of(list(names), name="own") if names else None


def _image(picture: Path, path: Path, taxonomy: Taxonomy | None, table: ImageTable, source: Path) -> LabelledImage:
    instances, classes = cells_of(path, picture_size(picture), taxonomy)
    name = picture.stem
    return labelled(
        picture,
        source,
        instances=np.asarray(instances, np.int32),
        classes=classes,
        mpp=table.mpps.get(name),
        group=table.group(name) or "",
        tissue=table.tissue(name),
    )
