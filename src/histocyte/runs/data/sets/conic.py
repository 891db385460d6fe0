"""CoNIC's patches of Lizard, and Lizard itself: colon at 20× (Graham et al. 2021, arXiv 2108.11195 and 2111.14485)."""

from __future__ import annotations

import csv
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CONIC as CLASSES
from histocyte.datasets.cards import DatasetCard
from histocyte.datasets.label_arrays import check_shape
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.files.foreign import foreign_parser
from histocyte.runs.data.sets.public_set import SetReader, as_ids, files_in, labelled, listed, paired

__all__ = ["CONIC", "LIZARD"]

_LICENCE = "CC BY-NC-SA 4.0"
_CONIC_LAYOUT = "images.npy (N, 256, 256, 3), labels.npy (N, 256, 256, 2) and patch_info.csv"
_LIZARD_LAYOUT = "images NAME.png and labels NAME.mat (inst_map, id, class), in any folders; info.csv"


def _conic(source: Path) -> list[Entry]:
    images, labels = source / "images.npy", source / "labels.npy"
    if not (images.is_file() and labels.is_file()):
        return listed([], source, "CoNIC", _CONIC_LAYOUT)
    with foreign_parser(lambda why: InputError(f"'{source}' cannot be read as arrays of CoNIC ({why}).")):
        pixels, maps = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (images, labels))
    if pixels.ndim != 4 or maps.shape != (*pixels.shape[:3], 2):
        raise InputError(f"'{images}' is {pixels.shape} and '{labels}' {maps.shape}. Expected: {_CONIC_LAYOUT}.")
    table = source / "patch_info.csv"
    names = _column(table, "patch_info") if table.is_file() else [str(i) for i in range(len(pixels))]
    if len(names) != len(pixels):
        raise InputError(f"'{table}' names {len(names):,} patches, and '{images}' holds {len(pixels):,}.")
    return [
        Entry(f"{i:04d}_{name}", partial(_patch, pixels, maps, i, name.rpartition("-")[0] or name, f"images.npy[{i}]"))
        for i, name in enumerate(names)
    ]


def _patch(pixels: NDArray[Any], maps: NDArray[Any], i: int, group: str, place: str) -> LabelledImage:
    labels = as_ids(maps[i, ..., 0], place)
    ids, first = np.unique(labels, return_index=True)
    classes = maps[i, ..., 1].ravel()[first[ids > 0]].astype(np.int64)
    return LabelledImage(np.ascontiguousarray(pixels[i], np.uint8), labels, classes, group=group, source=place)


def _column(path: Path, name: str) -> list[str]:
    with (
        foreign_parser(lambda why: InputError(f"'{path}' cannot be read ({why}).")),
        path.open(newline="", encoding="utf-8-sig") as file,
    ):
        rows = list(csv.DictReader(file))
        if rows and name not in rows[0]:
            raise ValueError(f"it has no column '{name}'")
        return [row[name] for row in rows]


def _lizard(source: Path) -> list[Entry]:
    pairs = paired(files_in(source, (".png",)), files_in(source, (".mat",)))
    table = next((p for p in files_in(source, (".csv",)) if p.name == "info.csv"), None)
    splits = dict(zip(_column(table, "Filename"), _column(table, "Split"), strict=True)) if table else {}
    entries = (
        Entry(image.stem, partial(_lizard_image, image, labels, source, _fold(splits.get(image.stem, ""))))
        for image, labels in pairs
    )
    return listed(entries, source, "Lizard", _LIZARD_LAYOUT)


def _fold(stated: str) -> str:
    return f"fold{stated}" if stated else ""


def _lizard_image(picture: Path, labels: Path, source: Path, split: str) -> LabelledImage:
    from scipy.io import loadmat, whosmat

    with (
        foreign_parser(lambda why: InputError(f"'{labels}' cannot be read as labels of Lizard ({why}).")),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # about duplicate variables
        for name, shape, _ in whosmat(labels):
            if name == "inst_map":
                check_shape(shape, labels)
        content: dict[str, Any] = loadmat(labels, variable_names=("inst_map", "id", "class"))
        instances = as_ids(np.asarray(content["inst_map"]), labels)
        code_of = dict(zip(np.ravel(content["id"]).tolist(), np.ravel(content["class"]).tolist(), strict=True))
        present = np.unique(instances)
        classes = np.array([code_of.get(int(i), 0) for i in present[present > 0]], np.int64)
    return labelled(picture, source, instances=instances, classes=classes, split=split)


CONIC = SetReader(
    "CoNIC",
    DatasetCard(
        *("conic", 0.5, "CC BY-NC-SA 4.0", "Graham et al., arXiv:2111.14485, 2021", lambda name: name, CLASSES)
    ),
    _CONIC_LAYOUT,
    _conic,
)
LIZARD = SetReader(
    "Lizard",
    DatasetCard(
        *("lizard", 0.5, "CC BY-NC-SA 4.0", "Graham et al., arXiv:2108.11195, 2021", lambda name: name, CLASSES)
    ),
    _LIZARD_LAYOUT,
    _lizard,
)
