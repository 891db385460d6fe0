"""Sets whose labels are label maps or masks in files of their own: NuInsSeg, CryoNuSeg, TNBC, CytoDArk0, DSB 2018.

Mahbod et al. 2024 (doi 10.1038/s41597-024-03117-2) and 2021 (doi 10.1016/j.compbiomed.2021.104349); Naylor et al. 2019
(doi
10.1109/TMI.2018.2865709); Vadori et al. 2024 (arXiv 2409.04175); Caicedo et al. 2019 (doi 10.1038/s41592-019-0612-7).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from histocyte.core.errors import InputError
from histocyte.core.taxonomies import CYTODARK0 as CELL
from histocyte.datasets.cards import DATASETS, DatasetCard
from histocyte.datasets.labelled_image import Entry, LabelledImage
from histocyte.files.foreign import foreign_parser
from histocyte.runs.data.sets.public_set import SetReader, cells_of, files_in, labelled, listed, paired
from histocyte.slides.picture import picture_size, read_picture

__all__ = ["CRYONUSEG", "CYTODARK0", "DSB2018", "NUINSSEG", "TNBC"]

_NUINSSEG = "a folder for each organ with 'tissue images/NAME.png' and 'label masks modify/NAME.tif'"
_CRYONUSEG = "'tissue images/NAME.tif' and 'Annotator 1 …/label masks modify/NAME.tif'"
_TNBC = "Slide_01/NAME.png and GT_01/NAME.png, and so on"
_CYTODARK0 = "folders image/NAME.png and label/NAME.tiff of one size, as in 40x/1024x1024"
_DSB2018 = "a folder for each image with images/NAME.png and masks/*.png"


def _mask(path: Path) -> NDArray[np.uint8]:
    """(H, W) of an image of black and white, in whatever mode.

    Raises:
        InputError: It cannot be read.
    """
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None:
        raise InputError(f"'{path}' cannot be read as an image.")
    if found.ndim == 3:
        found = found[..., :3].max(axis=2)
    return (found > 0).astype(np.uint8)


def _nuinsseg(source: Path) -> list[Entry]:
    pictures = [p for p in files_in(source, (".png",)) if p.parent.name == "tissue images"]
    maps = [p for p in files_in(source, (".tif", ".tiff")) if p.parent.name == "label masks modify"]
    entries = (Entry(p.stem, partial(_with_map, p, m, source, _organ(p))) for p, m in paired(pictures, maps))
    return listed(entries, source, "NuInsSeg", _NUINSSEG)


def _organ(picture: Path) -> str:
    return picture.parent.parent.name.removeprefix("human ").removeprefix("mouse ")


def _cryonuseg(source: Path) -> list[Entry]:
    pictures = [p for p in files_in(source, (".tif", ".tiff")) if p.parent.name == "tissue images"]
    maps = [p for p in files_in(source, (".tif", ".tiff")) if p.parent.name == "label masks modify"]
    first = [p for p in maps if any(part.startswith("Annotator 1") for part in p.parts)] or maps
    entries = (Entry(p.stem, partial(_with_map, p, m, source, "")) for p, m in paired(pictures, first))
    return listed(entries, source, "CryoNuSeg", _CRYONUSEG)


def _with_map(picture: Path, labels: Path, source: Path, tissue: str) -> LabelledImage:
    instances, _ = cells_of(labels, picture_size(picture))
    return labelled(picture, source, instances=instances, tissue=tissue)


def _tnbc(source: Path) -> list[Entry]:
    pictures = [p for p in files_in(source, (".png",)) if p.parent.name.startswith("Slide_")]
    pairs = ((p, p.parent.with_name(p.parent.name.replace("Slide_", "GT_")) / p.name) for p in pictures)
    entries = (Entry(p.stem, partial(_of_mask, p, gt, source)) for p, gt in pairs if gt.is_file())
    return listed(entries, source, "TNBC", _TNBC)


def _of_mask(picture: Path, mask: Path, source: Path) -> LabelledImage:
    # Nuclei do not touch in these masks.
    _, labels = cv2.connectedComponents(_mask(mask), connectivity=4, ltype=cv2.CV_32S)
    return labelled(
        picture,
        source,
        instances=labels.astype(np.int32),
        group=picture.parent.name.replace("Slide_", ""),
        tissue="breast",
    )


def _cytodark0(source: Path) -> list[Entry]:
    pictures = [p for p in files_in(source / "image", (".png",)) if (source / "image").is_dir()]
    pairs = paired(pictures, files_in(source / "label", (".tif", ".tiff")))
    fold = {"0": "train", "1": "validation", "2": "test"}
    table = next((p for p in (source / "folds.csv", source.parent / "folds.csv") if p.is_file()), None)
    folds = {} if table is None else {number: fold.get(part, "") for number, part in _folds(table)}
    mpp = 0.548 if source.parent.name.lower() == "20x" else 0.274
    entries = (
        Entry(p.stem, partial(_brain, p, labels, source, mpp, folds.get(p.stem.split("_")[0], "")))
        for p, labels in pairs
    )
    return listed(entries, source, "CytoDArk0", _CYTODARK0)


def _folds(path: Path) -> Iterator[tuple[str, str]]:
    with (
        foreign_parser(lambda why: InputError(f"'{path}' cannot be read ({why}); expected: img_id,fold.")),
        path.open(newline="", encoding="utf-8-sig") as file,
    ):
        for row in csv.DictReader(file):
            yield str(int(float(row["img_id"]))), str(int(float(row["fold"])))


def _brain(picture: Path, labels: Path, source: Path, mpp: float, split: str) -> LabelledImage:
    instances, _ = cells_of(labels, picture_size(picture))
    present = len(np.unique(instances[instances > 0]))
    return labelled(
        picture,
        source,
        instances=instances,
        classes=np.ones(present, np.int64),
        mpp=mpp,
        group=picture.stem.split("_")[0],
        tissue="brain",
        split=split,
    )


def _dsb2018(source: Path) -> list[Entry]:
    found = []
    for picture in files_in(source, (".png",)):
        masks = picture.parent.parent / "masks"
        if picture.parent.name == "images" and masks.is_dir():
            found.append(Entry(picture.stem, partial(_of_masks, picture, masks, source)))
    return listed([entry for entry in found if _is_stained(entry, source)], source, "DSB 2018", _DSB2018)


def _is_stained(entry: Entry, source: Path) -> bool:
    """Whether an image is of stained tissue: in colour. The other three quarters of the set are fluorescence."""
    path = next(iter(source.rglob(f"{entry.name}/images/{entry.name}.png")), None)
    if path is None:
        return True
    pixels = read_picture(path).pixels.astype(np.int16)
    return bool((pixels.max(axis=2) - pixels.min(axis=2)).mean() > 5)


def _of_masks(picture: Path, masks: Path, source: Path) -> LabelledImage:
    labels = np.zeros(picture_size(picture), np.int32)
    for number, path in enumerate(sorted(masks.glob("*.png")), 1):
        mask = _mask(path)
        if mask.shape != labels.shape:
            raise InputError(f"'{path}' is {mask.shape}, and its image {labels.shape}; they must agree.")
        labels[mask > 0] = number
    return labelled(picture, source, instances=labels)


def _itself(name: str) -> str:
    return name


NUINSSEG = SetReader("NuInsSeg", DATASETS["nuinsseg"], _NUINSSEG, _nuinsseg)
CRYONUSEG = SetReader(
    "CryoNuSeg",
    DatasetCard("cryonuseg", 0.25, "CC BY-NC-SA 4.0", "Mahbod et al., Comput. Biol. Med. 132, 2021", _itself),
    _CRYONUSEG,
    _cryonuseg,
)
TNBC = SetReader("TNBC", DATASETS["tnbc"], _TNBC, _tnbc)
CYTODARK0 = SetReader(
    "CytoDArk0",
    DatasetCard("cytodark0", 0.274, "CC BY-NC-SA 4.0", "Vadori et al., arXiv:2409.04175, 2024", _itself, CELL),
    _CYTODARK0,
    _cytodark0,
)
DSB2018 = SetReader("2018 Data Science Bowl, its stained images", DATASETS["dsb2018_he"], _DSB2018, _dsb2018)
